"""Random orders and coalitions of features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchattr.methods._perturbation.random_numbers import key_of, uniform

Draw = Callable[[int, int], NDArray]
"""Draws for one example, from a seed and its number of features."""


class CoalitionDraws(ABC):
    """Draws orders and coalitions of the features of each example.

    Each method takes the number of samples, whether each example has each feature, `(N or 1,
    features)`, and the number of examples whose scores are their own, and returns `(samples, N or 1, features)`.
    """

    @abstractmethod
    def orders(self, count: int, members: Tensor, rows: int) -> Tensor:
        """Return the position of each feature in random orders; absent features come last."""

    @abstractmethod
    def coins(self, count: int, members: Tensor, rows: int) -> Tensor:
        """Return coalitions that keep each feature with probability 1/2."""

    @abstractmethod
    def subsets(self, count: int, members: Tensor, rows: int) -> Tensor:
        """Return coalitions of `k` of `M` features, `k` with a probability `∝ 1 / (k (M − k))`."""


class SeededDraws(CoalitionDraws):
    """Draws that a seed, an example's number of features and the number of samples determine.

    Args:
        seeds: one seed for all examples, or one for each.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._seeds = tuple(seeds)

    def orders(self, count: int, members: Tensor, rows: int) -> Tensor:
        def draw(seed: int, features: int) -> NDArray:
            return _ranks(uniform(key_of(seed, 0), 0, count, features))

        last = torch.arange(members.shape[1]).expand(count, -1)
        return self._for_each(members, draw, last)

    def coins(self, count: int, members: Tensor, rows: int) -> Tensor:
        def draw(seed: int, features: int) -> NDArray:
            return uniform(key_of(seed, 0), 0, count, features) < 0.5

        return self._for_each(members, draw, _nowhere(count, members))

    def subsets(self, count: int, members: Tensor, rows: int) -> Tensor:
        def draw(seed: int, features: int) -> NDArray:
            drawn = uniform(key_of(seed, 0), 0, count, 1 + features)
            sizes = np.searchsorted(_cumulated(features), drawn[:, 0], side="right")
            return _ranks(drawn[:, 1:]) < sizes[:, None]

        return self._for_each(members, draw, _nowhere(count, members))

    def _for_each(self, members: Tensor, draw: Draw, absent: Tensor) -> Tensor:
        """Draw for each example among its own features.

        Args:
            members: whether each example has each feature.
            draw: draws for one example.
            absent: what features have that an example lacks, `(samples, features)`.
        """
        rows = max(len(members), len(self._seeds))
        whole = absent.unsqueeze(1).repeat(1, rows, 1)
        for row, own in enumerate(members.expand(rows, -1)):
            drawn = draw(self._seeds[row % len(self._seeds)], int(own.sum()))
            whole[:, row, own] = torch.from_numpy(drawn)
            if not own.all():
                whole[:, row, ~own] = absent[:, int(own.sum()) :]
        return whole


def size_probabilities(features: int) -> Tensor:
    """Return how often KernelSHAP draws coalitions of 0, 1, ... `features - 1` members.

    >>> size_probabilities(4).tolist()
    [0.0, 0.36..., 0.27..., 0.36...]
    """
    sizes = torch.arange(1, max(features, 1), dtype=torch.float64)
    weights = 1 / (sizes * (features - sizes))
    return torch.cat([weights.new_zeros(1), weights / weights.sum()])


def _cumulated(features: int) -> NDArray:
    cumulated = np.cumsum(size_probabilities(features).numpy())
    # Of a single feature only the coalition of none is left.
    cumulated[-1] = 1 if features > 1 else 2
    return cumulated


def _ranks(keys: NDArray) -> NDArray:
    """Return the position of each column in the order of a row's keys."""
    return keys.argsort(1, kind="stable").argsort(1, kind="stable")


def _nowhere(count: int, members: Tensor) -> Tensor:
    return torch.zeros(count, members.shape[1], dtype=torch.bool)

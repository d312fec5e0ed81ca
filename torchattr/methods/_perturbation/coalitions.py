"""Coalitions: the features that a copy of the inputs keeps, where all others are replaced."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor

from torchattr.methods._perturbation.features import FeatureMasks
from torchattr.methods._perturbation.segments import Segments

MOST_COMPARED = 2**26
"""Entries of a table up to which equal coalitions are looked for."""


class Coalitions(FeatureMasks):
    """Copies of the inputs that keep a coalition of features, and replace all others.

    Args:
        features: the features.
    """

    def __init__(self, features: Segments) -> None:
        self.features = features

    @property
    @abstractmethod
    def rows(self) -> int:
        """Number of examples with coalitions of their own; 1 if all share them."""

    @abstractmethod
    def kept(self, start: int, stop: int) -> Tensor:
        """Return whether coalitions `[start, stop)` keep each feature.

        Returns:
            `(stop - start, rows, features)`, on the CPU.
        """

    @property
    def per_example(self) -> bool:
        return self.rows > 1 or self.features.per_example

    def masks(self, start: int, stop: int) -> list[Tensor | None]:
        return [*self.features.of_elements(~self.kept(start, stop))]

    def distinct(self) -> tuple[Coalitions, Tensor]:
        """Return the different coalitions, and which of them each one is.

        A table too large to compare is returned as it is.
        """
        size = len(self) * self.rows * len(self.features)
        if not 0 < size <= MOST_COMPARED:
            return self, torch.arange(len(self))
        kept = self.kept(0, len(self))
        packed = np.packbits(kept.flatten(1).numpy(), axis=1)
        _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
        return ListedCoalitions(self.features, kept[first]), torch.from_numpy(inverse.reshape(-1))


class ListedCoalitions(Coalitions):
    """Coalitions from a table.

    Args:
        features: the features.
        table: whether each coalition keeps each feature, `(coalitions, N or 1, features)`.
    """

    def __init__(self, features: Segments, table: Tensor) -> None:
        super().__init__(features)
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    @property
    def rows(self) -> int:
        return int(self._table.shape[1])

    def kept(self, start: int, stop: int) -> Tensor:
        return self._table[start:stop]


class EveryCoalition(Coalitions):
    """All coalitions: number `k` keeps the features whose bits are set in `k`."""

    def __len__(self) -> int:
        return 1 << len(self.features)

    @property
    def rows(self) -> int:
        return 1

    def kept(self, start: int, stop: int) -> Tensor:
        numbers = torch.arange(start, stop)[:, None, None]
        return (numbers >> torch.arange(len(self.features))) & 1 == 1


class OrderedCoalitions(Coalitions):
    """The coalitions that features form when they join one after another, in several orders.

    For each order these are the coalitions of 0 to `features - 1` members; the last one, of all
    features, is not among them.

    Args:
        features: the features.
        ranks: the position of each feature in each order, `(orders, N or 1, features)`.
    """

    def __init__(self, features: Segments, ranks: Tensor) -> None:
        super().__init__(features)
        self.ranks = ranks

    def __len__(self) -> int:
        return len(self.ranks) * len(self.features)

    @property
    def rows(self) -> int:
        return int(self.ranks.shape[1])

    def kept(self, start: int, stop: int) -> Tensor:
        numbers = torch.arange(start, stop)
        members = numbers % len(self.features)
        return self.ranks[numbers // len(self.features)] < members[:, None, None]

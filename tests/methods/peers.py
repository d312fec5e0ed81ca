"""Small models, and the peer to compare with, for the tests of black-box and path methods."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from helpers import noise, seeded
from torch import Tensor, nn


def classifier() -> nn.Module:
    """A smooth function from `(N, 6)` to three scores."""
    return seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double())


def picture_net() -> nn.Module:
    """A small convolutional net from `(N, 2, 5, 6)` to three scores."""
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(48, 3)
        ).double()
    )


def mixed(a: Tensor, b: Tensor, scale: Tensor | None = None, power: int = 1) -> Tensor:
    """A function of two inputs that interact, `(N, 6)` and `(N, 4)`, to three scores."""
    first = torch.stack([a[:, 0] * b[:, 1], a[:, 1:].prod(1), b.sum(1) * a[:, 2]], dim=1)
    return first**power if scale is None else first * scale.reshape(-1, 1) ** power


def rows(count: int = 3, seed: int = 1) -> Tensor:
    return noise(count, 6, seed=seed)


def pictures(count: int = 2) -> Tensor:
    return noise(count, 2, 5, 6)


def asked(peer: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Return a method's attributions, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peer.attribute(*args, **kwargs)


class Counting(nn.Module):
    """Records the number of rows of each forward; runs out of memory above a limit."""

    def __init__(self, model: nn.Module, limit: int | None = None, error: Any = None) -> None:
        super().__init__()
        self.model = model
        self.limit = limit
        self.error = error or torch.OutOfMemoryError("CUDA out of memory (simulated)")
        self.seen: list[int] = []

    def forward(self, x: Tensor, *others: Any) -> Tensor:
        self.seen.append(len(x))
        if self.limit is not None and len(x) > self.limit:
            raise self.error
        return self.model(x)

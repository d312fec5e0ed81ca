"""A network in two halves, and what methods give at the layer between, by plain autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from helpers import noise, seeded
from torch import Tensor, nn

X, START = noise(3, 2, 6), noise(3, 2, 6, seed=4)
TARGETS = [2, 0, 1]
LAYER = 2
"""The layer between the halves, by number: its output is their border."""


def network() -> nn.Sequential:
    """Return a smooth network from `(N, 2, 6)` to three scores."""
    return seeded(
        lambda: nn.Sequential(
            nn.Conv1d(2, 4, 3),
            nn.Tanh(),
            nn.Conv1d(4, 5, 2),
            nn.Softplus(),
            nn.Flatten(),
            nn.Linear(15, 4),
            nn.Tanh(),
            nn.Linear(4, 3),
        ).double()
    )


def halves(model: nn.Sequential) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Return the functions from the input to the layer, and from that to the chosen scores."""
    return model[: LAYER + 1], lambda z: model[LAYER + 1 :](z)[range(len(z)), TARGETS[: len(z)]]


def gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """Return the gradient of the sum of a function's values."""
    leaf = at.detach().requires_grad_()
    (found,) = torch.autograd.grad(function(leaf).sum(), leaf)
    return found


class Pair(nn.Module):
    """A layer of two tensors."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.tanh(), x.square()


class Joined(nn.Module):
    """Reads both."""

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        return pair[0] * pair[1] + pair[1]


def forked() -> nn.Sequential:
    """Return a network with a layer `"1"` of two tensors."""
    return seeded(
        lambda: nn.Sequential(nn.Linear(6, 5), Pair(), Joined(), nn.Linear(5, 3)).double()
    )


class Twice(nn.Module):
    """Calls one layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.layer(x).tanh()).tanh())


class SequenceFirst(nn.Module):
    """Its layer has the sequence first, the batch second."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(2, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x.permute(2, 0, 1)).tanh().sum(0))


def hooks_of(model: nn.Module) -> list[Any]:
    return [
        hook
        for module in model.modules()
        for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    ]

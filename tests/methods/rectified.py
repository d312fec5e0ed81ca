"""A network of ReLUs, and its gradients by plain autograd with a handwritten backward."""

from __future__ import annotations

import torch
from helpers import autograd, noise, rectifiers, seeded
from torch import Tensor, nn

X = noise(3, 2, 7, 6)


def network() -> nn.Module:
    """Convolutions, a max-pool and linear layers from `(N, 2, 7, 6)` to four scores."""
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(2, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(24, 12), nn.ReLU(inplace=True), nn.Linear(12, 4),
        ).double()
    )  # fmt: skip


def by_autograd(model: nn.Module, target: int, rule: str = "gradient") -> Tensor:
    """Return the gradient of a class, with every ReLU's backward replaced by a handwritten one."""
    with rectifiers(rule):
        gradient: Tensor = autograd(model, X, lambda scores: scores[:, target])
    return gradient


def of_each_class(model: nn.Module, rule: str = "gradient") -> Tensor:
    return torch.stack([by_autograd(model, target, rule) for target in range(4)], 1)

"""A small network, and tasks on it."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from helpers import noise, seeded
from torch import Tensor, nn

from benchmarks.tasks import Task


class Net(nn.Module):
    """Two ReLUs, modules or functions."""

    def __init__(self, functional: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3)
        self.relu: Callable[[Tensor], Tensor] = F.relu if functional else nn.ReLU()
        self.head = nn.Linear(8, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.relu(self.second(self.relu(self.first(x)))).mean((2, 3)))


def task(method: str, functional: bool = False, images: int = 2) -> Task:
    model = seeded(Net, functional, seed=3).double()
    return Task(method, model, noise(images, 3, 12, 12), "second", 1)

"""Networks, pictures and methods whose sanity is known, for the tests of sanity checks."""

from __future__ import annotations

from typing import Any

import torch
from helpers import noise, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.evaluate.reference_maps import random_maps, sobel_edges


class PlainNet(nn.Module):
    """Three scores of pictures `(N, 2, 8, 8)`, without a flat place, so that no map is constant."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(2, 4, 3, padding=1)
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(256, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.inner(self.body(x).tanh()).tanh().flatten(1))


PICTURES = noise(4, 2, 8, 8)


def plain() -> PlainNet:
    net = seeded(PlainNet).double()
    assert isinstance(net, PlainNet)
    return net


class EdgeMethod(ta.Attribution):
    """Shows the picture's edges, whatever the model."""

    def attribute(
        self, inputs: Tensor, target: Any = None, additional_forward_args: Any = None
    ) -> Tensor:
        edges = sobel_edges(inputs)[:, None]
        count = len(target.indices) if isinstance(target, ta.Classes) else 0
        return edges[:, None].expand(-1, count, -1, -1, -1) if count else edges


class NoiseMethod(ta.Attribution):
    """Shows noise, drawn anew at each call."""

    def attribute(
        self, inputs: Tensor, target: Any = None, additional_forward_args: Any = None
    ) -> Tensor:
        count = len(target.indices) if isinstance(target, ta.Classes) else 1
        seeds = torch.randint(1000, (count,)).tolist()
        maps = torch.stack([random_maps(inputs, seed)[:, None] for seed in seeds], 1)
        return maps if isinstance(target, ta.Classes) else maps[:, 0]


class LevelMethod(ta.Attribution):
    """Shows the same everywhere."""

    def attribute(
        self, inputs: Tensor, target: Any = None, additional_forward_args: Any = None
    ) -> Tensor:
        level = torch.ones_like(inputs[:, :1])
        count = len(target.indices) if isinstance(target, ta.Classes) else 0
        return level[:, None].expand(-1, count, -1, -1, -1) if count else level

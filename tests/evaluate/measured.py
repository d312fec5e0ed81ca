"""A small network and ranks by counting, for the tests of metrics."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


class SmallNet(nn.Sequential):
    """Three scores of pictures `(N, 2, 6, 8)`."""

    def __init__(self) -> None:
        stem = (nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten())
        super().__init__(*stem, nn.Linear(48, 3))


def ranks(values: Sequence[float]) -> list[float]:
    """Return the mean position of each value in order, by counting."""
    listed = list(values)
    return [
        sum(other < value for other in listed) + (listed.count(value) + 1) / 2 for value in listed
    ]

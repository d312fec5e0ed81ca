"""Convert between the model's tensors and rows of pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from math import prod

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """Which dimensions of a tensor are rows, columns and channels.

    Attributes:
        shape: its shape; the batch comes first.
        spatial: the dimensions of rows and of columns; empty for a single pixel.
    """

    shape: tuple[int, ...]
    spatial: tuple[int, int] | tuple[()]

    @property
    def height(self) -> int:
        return self.shape[self.spatial[0]] if self.spatial else 1

    @property
    def width(self) -> int:
        return self.shape[self.spatial[1]] if self.spatial else 1

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def channels(self) -> int:
        return prod(self.shape[1:]) // self.pixels

    @property
    def is_plain(self) -> bool:
        """Whether it is `(N, C, H, W)`."""
        return len(self.shape) == 4 and self.spatial == (2, 3)

    def spread(self, rows: Tensor) -> Tensor:
        """Return `(rows, channels)` as a batch of single pixels in the model's dimensions."""
        shape = [1 if dim in self.spatial else size for dim, size in enumerate(self.shape)]
        return rows.reshape(len(rows), *shape[1:])

    def gathered(self, spread: Tensor) -> Tensor:
        """Return a batch of single pixels as `(rows, channels)`."""
        return spread.reshape(len(spread), self.channels)

    def channels_last(self, tensor: Tensor) -> Tensor:
        """Return a tensor of this grid as `(N, H, W, C)`, contiguous."""
        moved = tensor.movedim(self.spatial, (1, 2)) if self.spatial else tensor
        return moved.reshape(len(tensor), self.height, self.width, -1).contiguous()

    def tensor(self, channels_last: Tensor) -> Tensor:
        """Return `(N, H, W, C)` in the model's dimensions; a view where possible."""
        if not self.spatial:
            return channels_last.reshape(len(channels_last), *self.shape[1:])
        others = [size for dim, size in enumerate(self.shape) if dim not in (0, *self.spatial)]
        moved = channels_last.reshape(*channels_last.shape[:3], *others)
        return moved.movedim((1, 2), self.spatial)


Grids = Mapping[int, Grid]


def plain_grid(shape: torch.Size) -> Grid | None:
    """Return the grid of `(N, C, H, W)`."""
    return Grid(tuple(shape), (2, 3)) if len(shape) == 4 and shape.numel() else None


def codes(grid: Grid) -> Tensor:
    """Return a tensor of this grid in which every element encodes its pixel and channel."""
    batch = grid.shape[0]
    count = batch * grid.pixels * grid.channels
    whole = torch.arange(count).reshape(batch, grid.height, grid.width, -1)
    # Some views are possible of contiguous tensors only.
    return grid.tensor(whole).contiguous()


def decoded(tensor: Tensor, grid: Grid) -> tuple[Grid, Tensor] | None:
    """Find the grid of a rearranged tensor of codes, and the channels that it holds.

    Returns:
        `None` if its pixels are not those of `grid`, or do not all have the same channels.
    """
    wanted = torch.arange(grid.shape[0] * grid.pixels)
    for spatial in _spatial(tensor.dim()):
        rearranged = Grid(tuple(tensor.shape), spatial)
        if (rearranged.height, rearranged.width) != (
            grid.height,
            grid.width,
        ) or rearranged.channels == 0:
            continue
        rows = rearranged.channels_last(tensor).reshape(-1, rearranged.channels)
        channels = rows[0] % grid.channels
        if len(rows) == len(wanted) and torch.equal(
            rows, wanted[:, None] * grid.channels + channels
        ):
            return rearranged, channels
    return None


def _spatial(dims: int) -> list[tuple[int, int] | tuple[()]]:
    """Return the pairs of dimensions that may be rows and columns."""
    return [*permutations(range(1, dims), 2), ()]

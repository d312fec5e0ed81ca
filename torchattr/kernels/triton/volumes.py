"""Tensors of one to three spatial dimensions as volumes, windows over them, and tiles of both.

A volume is `(N, C, D, H, W)`: an image is a volume of depth 1. A program works on a tile of rows
and columns. Columns run along the dimension that is fastest in memory: the width, or in
channels-last tensors the channels. So what all elements of a row share is computed once a row. A
row's number counts the dimensions before the fastest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchattr.kernels.layout import Window
from torchattr.kernels.triton.tuning import OPTIONS, tile_shape

Three = tuple[int, ...]


@triton.jit
def position_of(row, column, parts, LAST: tl.constexpr, WIDE: tl.constexpr):
    """Return example, channel and position of the elements of a tile."""
    rest, a = row // parts[0], row % parts[0]
    rest, b = rest // parts[1], rest % parts[1]
    n, c = rest // parts[2], rest % parts[2]
    if WIDE:
        column = column.to(tl.int64)
    return (n, column, c, b, a) if LAST else (n, c, b, a, column)


def as_volume(tensor: Tensor, dims: int) -> Tensor:
    """View a batch of sequences or images, or a single one, as `(N, C, D, H, W)`."""
    batch = tensor if tensor.dim() == dims + 2 else tensor.unsqueeze(0)
    return batch[(slice(None),) * 2 + (None,) * (3 - dims)]


def volume_shape(shape: Sequence[int], dims: int) -> torch.Size:
    """Return the shape of :func:`as_volume` for a tensor of `shape`."""
    batch = shape if len(shape) == dims + 2 else (1, *shape)
    return torch.Size((*batch[:2], *(1,) * (3 - dims), *batch[2:]))


def is_channels_last(volume: Tensor) -> bool:
    """Whether the channels of a volume are its fastest dimension."""
    return not volume.is_contiguous() and volume.stride(1) == 1 and volume.shape[1] > 1


def blank_volume(like: Tensor, shape: torch.Size, last: bool, dtype: torch.dtype) -> Tensor:
    """Allocate a volume, with channels last or first."""
    if not last:
        return like.new_empty(shape, dtype=dtype)
    n, c, *spatial = shape
    return like.new_empty((n, *spatial, c), dtype=dtype).movedim(-1, 1)


@dataclass(frozen=True)
class Frame:
    """A window padded to three dimensions."""

    extent: Three
    stride: Three
    padding: Three
    dilation: Three

    @staticmethod
    def of(window: Window) -> Frame:
        missing = 3 - len(window.extent)
        ones, zeros = (1,) * missing, (0,) * missing
        return Frame(
            (*ones, *window.extent),
            (*ones, *window.stride),
            (*zeros, *window.padding),
            (*ones, *window.dilation),
        )

    @property
    def elements(self) -> int:
        return prod(self.extent)

    def windows_over_a_cell(self) -> tuple[Three, Three]:
        """Return the first window that covers an element of cell 0, and the number of windows."""
        settings = zip(self.extent, self.stride, self.padding, self.dilation, strict=True)
        ranges = [_windows_over(*setting) for setting in settings]
        return tuple(first for first, _ in ranges), tuple(
            last - first + 1 for first, last in ranges
        )


def _windows_over(extent: int, stride: int, padding: int, dilation: int) -> tuple[int, int]:
    reach = (extent - 1) * dilation
    first = -((reach - padding) // stride)
    return first, max(first, (stride - 1 + padding) // stride)


@dataclass(frozen=True)
class Tiles:
    """How a volume is cut into tiles, and the dimensions that a row's number counts."""

    rows: int
    length: int
    parts: Three
    shape: tuple[int, int]
    wide: bool

    @staticmethod
    def over(volume: torch.Size, last: bool, wide: bool) -> Tiles:
        n, c, d, h, w = volume
        parts, length = ((w, h, d), c) if last else ((h, d, c), w)
        return Tiles(n * prod(parts), length, parts, tile_shape(length), wide)

    @property
    def grid(self) -> tuple[int]:
        rows, columns = self.shape
        return (-(-self.rows // rows) * -(-self.length // columns),)

    @property
    def options(self) -> dict[str, int | bool]:
        rows, columns = self.shape
        return {"ROWS": rows, "COLUMNS": columns, "WIDE": self.wide, **OPTIONS}

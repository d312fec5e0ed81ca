"""Tensors of one to three spatial dimensions as volumes, windows over them, and tiles of both.

A volume is `(N, C, D, H, W)`: an image is a volume of depth 1. A program works on a tile of rows
and columns. In channels-last tensors, columns are the channels, and a row's number counts the
dimensions before them. In all others a row is one element, and there is one column: neighbouring
threads then work on neighbouring elements for any width of an image.

The position of a row follows from its number by division. That of a program's first row is divided
once for all of its rows; what is left for each row is small and divided by multiplication.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import gcd, prod
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchattr.kernels.layout import Window
from torchattr.kernels.triton.indexing import UNIT, divide, divisor
from torchattr.kernels.triton.launch import Launch
from torchattr.kernels.triton.tuning import OPTIONS, ROWS, VOLUME_BYTES, tile_shape

Three = tuple[int, ...]

COUNTED = ["rows", "units", *(f"{part}{number}" for number in range(4) for part in "pfs")]
"""Parameters whose values a kernel is not compiled for: the number of rows, and what divides it."""


@triton.jit
def digit_of(first, number, size, factor, shift, WIDE: tl.constexpr):
    """Return the last digit of `first + number` to the base `size`, and both without it."""
    if WIDE:
        rest = first // size
        low = first - rest * size + number
        carry = low // size
    else:
        rest = divide(first, factor, shift)
        low = first - rest * size + number
        carry = divide(low, factor, shift)
    return low - carry * size, rest, carry


@triton.jit
def position_of(
    first,
    number,
    column,
    counted,
    DEEP: tl.constexpr,
    LAST: tl.constexpr,
    JOINED: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Return example, channel and position of the elements of a tile.

    `counted` holds each dimension that a row's number counts, from the fastest, and its divisor.
    `JOINED` is whether the channels of all examples count as those of one.
    """
    w, first, number = digit_of(first, number, counted[0], counted[1], counted[2], WIDE)
    h, first, number = digit_of(first, number, counted[3], counted[4], counted[5], WIDE)
    if DEEP:
        d, first, number = digit_of(first, number, counted[6], counted[7], counted[8], WIDE)
    else:
        d = first * 0
    n = first + number
    if LAST:
        c = column
    elif JOINED:
        c, n = n, n * 0
    else:
        c, first, number = digit_of(first, number, counted[9], counted[10], counted[11], WIDE)
        n = first + number
    return n, c, d, h, w


@triton.jit
def step_of(step, WIDE: tl.constexpr):
    """Return the distance between neighbours of a dimension, whose products may need 64 bits."""
    return tl.cast(step, tl.int64) if WIDE else step


@triton.jit
def steps_of(step, WIDE: tl.constexpr):
    """Return the distance between neighbours of every dimension."""
    n, c = step_of(step[0], WIDE), step_of(step[1], WIDE)
    return n, c, step_of(step[2], WIDE), step_of(step[3], WIDE), step_of(step[4], WIDE)


@triton.jit
def offset_of(position, step):
    """Return the distance of positions from the first element of a volume."""
    n, c, d, h, w = position
    return n * step[0] + c * step[1] + d * step[2] + h * step[3] + w * step[4]


@triton.jit
def tile_of_volume(rows, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr, WIDE: tl.constexpr):
    """Return this program's first row, rows after it, columns, and which elements exist."""
    blocks = tl.cdiv(columns, COLUMNS)
    first = tl.program_id(0) // blocks
    if WIDE:
        first = first.to(tl.int64)
    first *= ROWS
    number = tl.arange(0, ROWS)[:, None]
    column = tl.program_id(0) % blocks * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    return first, number, column, (first + number < rows) & (column < columns)


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


def are_joined(*volumes: Tensor) -> bool:
    """Whether the channels of all examples of these volumes follow each other evenly."""
    return all(volume.stride(0) == volume.shape[1] * volume.stride(1) for volume in volumes)


def blank_volume(like: Tensor, shape: torch.Size, last: bool, dtype: torch.dtype) -> Tensor:
    """Allocate a volume, with channels last or first."""
    if not last:
        return like.new_empty(shape, dtype=dtype)
    n, c, *spatial = shape
    return like.new_empty((n, *spatial, c), dtype=dtype).movedim(-1, 1)


def pretended(shape: torch.Size, steps: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return a tensor without memory, to plan launches for others like it."""
    return torch.empty_strided(shape, steps, dtype=dtype, device="meta")


@dataclass(frozen=True)
class Blank:
    """Shape and strides of results, in the dimensions that a user sees."""

    shape: torch.Size
    steps: tuple[int, ...]

    @classmethod
    def of(cls, volume: Tensor, shape: torch.Size) -> Blank:
        return cls(shape, volume.view(shape).stride())

    def like(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        """Allocate such a result on the device of another tensor."""
        return tensor.new_empty_strided(self.shape, self.steps, dtype=dtype)


class VolumePlan(NamedTuple):
    """The results of a pool, and the launch that writes them; none if they are empty."""

    blank: Blank
    launch: Launch | None


@dataclass(frozen=True)
class Frame:
    """A window padded to three dimensions."""

    extent: Three
    stride: Three
    padding: Three
    dilation: Three

    @staticmethod
    @lru_cache(maxsize=256)
    def of(window: Window) -> Frame:
        missing = 3 - len(window.extent)
        ones, zeros = (1,) * missing, (0,) * missing
        return Frame(
            (*ones, *window.extent),
            (*ones, *window.stride),
            (*zeros, *window.padding),
            (*ones, *window.dilation),
        )

    @cached_property
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
    columns: int
    parts: tuple[int, ...]
    shape: tuple[int, int]
    wide: bool

    @staticmethod
    @lru_cache(maxsize=256)
    def over(volume: torch.Size, itemsize: int, last: bool, wide: bool) -> Tiles:
        n, c, d, h, w = volume
        if last:
            shape = tile_shape(c, VOLUME_BYTES // itemsize)
            return Tiles(n * d * h * w, c, (w, h, d, 1), shape, wide)
        return Tiles(n * c * d * h * w, 1, (w, h, d, c), (ROWS, 1), wide)

    @cached_property
    def grid(self) -> tuple[int]:
        rows, columns = self.shape
        return (-(-self.rows // rows) * -(-self.columns // columns),)

    @cached_property
    def counted(self) -> tuple[int, ...]:
        """The arguments for :data:`COUNTED`."""
        divisors = [(0, 0) if self.wide else divisor(part) for part in self.parts]
        pairs = zip(self.parts, divisors, strict=True)
        return (
            self.rows,
            self.columns // self.unit,
            *(n for part, pair in pairs for n in (part, *pair)),
        )

    @cached_property
    def unit(self) -> int:
        return gcd(self.columns, UNIT)

    @cached_property
    def options(self) -> dict[str, int | bool]:
        rows, columns = self.shape
        return {
            "DEEP": self.parts[2] > 1,
            "UNIT": self.unit,
            "ROWS": rows,
            "COLUMNS": columns,
            "WIDE": self.wide,
            **OPTIONS,
        }

"""Launches of the pools' kernels: shapes of tiles, divisors, and what is known when compiling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, prod

import torch
from torch import Tensor

from torchattr.kernels.layout import OPEN, Window
from torchattr.kernels.triton.kernels.indexing import UNIT, is_wide
from torchattr.kernels.triton.kernels.pools import max_pool_kernel
from torchattr.kernels.triton.kernels.tuning import OPTIONS, tile_shape
from torchattr.kernels.triton.kernels.unpools import unpool_kernel

# Loops of up to so many turns are unrolled: 5 × 5, or 3 × 3 × 3, not 16 × 16.
TURNS = 64


def as_volume(tensor: Tensor, dims: int) -> Tensor:
    """View a batch of sequences or pictures, or a single one, as `(N, C, D, H, W)`."""
    batch = tensor if tensor.dim() == dims + 2 else tensor.unsqueeze(0)
    return batch[(slice(None),) * 2 + (None,) * (3 - dims)]


def volume_shape(shape: Sequence[int], dims: int) -> torch.Size:
    """Give the shape that :func:`as_volume` gives a tensor of `shape`."""
    batch = shape if len(shape) == dims + 2 else (1, *shape)
    return torch.Size((*batch[:2], *(1,) * (3 - dims), *batch[2:]))


def is_channels_last(volume: Tensor) -> bool:
    """Tell whether the channels of a volume are its fastest dimension."""
    return not volume.is_contiguous() and volume.stride(1) == 1 and volume.shape[1] > 1


def blank_volume(like: Tensor, shape: torch.Size, last: bool, dtype: torch.dtype) -> Tensor:
    """Give memory for a volume, with the channels last or first."""
    if not last:
        return like.new_empty(shape, dtype=dtype)
    n, c, *places = shape
    return like.new_empty((n, *places, c), dtype=dtype).movedim(-1, 1)


def max_pool(x: Tensor, values: Tensor, switches: Tensor, window: Window) -> None:
    """Write the maxima of the windows over the volume `x`, and their switches."""
    frame = _Frame.of(window)
    last = is_channels_last(values)
    tile = _Tiles.over(values.shape, last, is_wide(x, values))
    length = values.shape[1] if last else values.shape[4]
    unit = gcd(length, UNIT)
    max_pool_kernel[tile.grid](
        x,
        values,
        switches,
        tile.rows,
        length // unit,
        *tile.parts,
        *x.shape[2:],
        x.stride(),
        K=frame.extent,
        S=frame.stride,
        P=frame.padding,
        L=frame.dilation,
        LAST=last,
        UNIT=unit,
        UNROLLED=frame.places <= TURNS,
        CHECKED=window.ceil_mode or any(window.padding),
        TELLS=window.tells_open,
        **tile.options,
    )


def unpool(
    grad: Tensor,
    switches: Tensor,
    result: Tensor,
    window: Window,
    only_open: bool = False,
    signed: bool = False,
) -> None:
    """Write into the volume `result` what the switches send back.

    Args:
        only_open: leave out windows whose maximum is not positive.
        signed: write zero for what comes out negative.
    """
    frame = _Frame.of(window)
    last = is_channels_last(result)
    cells = [-(-size // step) for size, step in zip(result.shape[2:], frame.stride, strict=True)]
    split = 2 if frame.stride[2] == 2 and not last else 1
    residues = prod(frame.stride) // split
    first, count = frame.windows_over_a_cell()
    shape = torch.Size([*result.shape[:2], *cells])
    unrolled = residues * prod(count) <= TURNS
    tile = _Tiles.over(shape, last, is_wide(grad, switches, result))
    length = result.shape[1] if last else result.shape[4]
    unit = gcd(length, UNIT)
    unpool_kernel[tile.grid](
        grad,
        switches,
        result,
        tile.rows,
        cells[2],
        length // unit,
        *tile.parts,
        *result.shape[2:],
        *grad.shape[2:],
        grad.stride(),
        switches.stride(),
        WINDOW=(frame.extent, frame.stride, frame.padding, frame.dilation, first, count),
        TURNS=residues,
        LAST=last,
        UNIT=unit,
        UNROLLED=unrolled,
        SPLIT=split,
        LIFTED=OPEN if only_open else 0,
        TELLS=window.tells_open,
        SIGNED=signed,
        **tile.options,
    )


Three = tuple[int, ...]


@dataclass(frozen=True)
class _Frame:
    """A window in three dimensions."""

    extent: Three
    stride: Three
    padding: Three
    dilation: Three

    @staticmethod
    def of(window: Window) -> _Frame:
        missing = 3 - len(window.extent)
        ones, zeros = (1,) * missing, (0,) * missing
        return _Frame(
            (*ones, *window.extent),
            (*ones, *window.stride),
            (*zeros, *window.padding),
            (*ones, *window.dilation),
        )

    @property
    def places(self) -> int:
        return prod(self.extent)

    def windows_over_a_cell(self) -> tuple[Three, Three]:
        """Give the first window that covers an element of cell 0, and how many do."""
        settings = zip(self.extent, self.stride, self.padding, self.dilation, strict=True)
        both = [_windows_over(*setting) for setting in settings]
        return tuple(first for first, _ in both), tuple(last - first + 1 for first, last in both)


def _windows_over(extent: int, stride: int, padding: int, dilation: int) -> tuple[int, int]:
    reach = (extent - 1) * dilation
    first = -((reach - padding) // stride)
    return first, max(first, (stride - 1 + padding) // stride)


@dataclass(frozen=True)
class _Tiles:
    """How a volume is cut into tiles, and how a row's number tells where it lies."""

    rows: int
    length: int
    parts: Three
    shape: tuple[int, int]
    wide: bool

    @staticmethod
    def over(volume: torch.Size, last: bool, wide: bool) -> _Tiles:
        n, c, d, h, w = volume
        parts, length = ((w, h, d), c) if last else ((h, d, c), w)
        return _Tiles(n * prod(parts), length, parts, tile_shape(length), wide)

    @property
    def grid(self) -> tuple[int]:
        rows, columns = self.shape
        return (-(-self.rows // rows) * -(-self.length // columns),)

    @property
    def options(self) -> dict[str, int | bool]:
        rows, columns = self.shape
        return {"ROWS": rows, "COLUMNS": columns, "WIDE": self.wide, **OPTIONS}

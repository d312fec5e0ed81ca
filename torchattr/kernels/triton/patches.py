"""Operations on patches: gathering and pooling them here, convolving them in `convolutions`.

A program works on a tile of rows and channels and writes each output once. `WINDOW` holds the
extents, strides, paddings and dilations of a window. Its loop is unrolled if it is short.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd, prod
from typing import ClassVar

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchattr.kernels.api import PatchOperations
from torchattr.kernels.patches import Boxes, Convolution, Epilogue, Patches, Pooling
from torchattr.kernels.triton.convolutions import convolve
from torchattr.kernels.triton.indexing import UNIT, tile_of
from torchattr.kernels.triton.launch import PLANS, Launch
from torchattr.kernels.triton.lookup import (
    are_aligned,
    are_wide,
    boxes_in,
    input_position,
    locate_rows,
    lookup_of,
    pixels_at,
    source_of,
)
from torchattr.kernels.triton.tuning import OPTIONS, UNROLLED_TURNS, tile_shape


@triton.jit(do_not_specialize=["height", "width", "rows", "units"])
def gather_kernel(
    output,
    x,
    boxes,
    height,
    width,
    rows,
    units,
    UNIT: tl.constexpr,
    MEMORY: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    channels, size = units * UNIT, (height, width)
    row, _start, column, inside = tile_of(rows, channels, ROWS, COLUMNS, MEMORY[1])
    variant, down, along = locate_rows(row, rows, boxes)
    box = boxes_in(x, size, variant, MEMORY)
    pixel, _is_inside = pixels_at(x, size, box, down, along, channels, MEMORY)
    tl.store(output + row * channels + column, tl.load(pixel + column, inside), inside)


@triton.jit
def add_element(
    number,
    total,
    x,
    size,
    box,
    down,
    along,
    column,
    inside,
    channels,
    WINDOW: tl.constexpr,
    MAXIMUM: tl.constexpr,
    MEMORY: tl.constexpr,
):
    """Accumulate one element of every window of a tile into its maximum or sum."""
    down, along = input_position(number, down, along, WINDOW)
    pixel, is_inside = pixels_at(x, size, box, down, along, channels, MEMORY)
    outside: tl.constexpr = float("-inf") if MAXIMUM else 0.0
    value = tl.load(pixel + column, inside & is_inside, other=outside).to(tl.float32)
    if MAXIMUM:
        total = tl.where((value > total) | (value != value), value, total)
    else:
        total += value
    return total


@triton.jit
def counted(
    position, size, K: tl.constexpr, S: tl.constexpr, P: tl.constexpr, BORDER: tl.constexpr
):
    """Count a window's elements inside an image with a border, in one dimension."""
    first = position * S - P
    return tl.minimum(first + K, size + BORDER) - tl.maximum(first, -BORDER)


@triton.jit(do_not_specialize=["height", "width", "rows", "units"])
def pool_kernel(
    output,
    x,
    boxes,
    height,
    width,
    rows,
    units,
    WINDOW: tl.constexpr,
    BORDER: tl.constexpr,
    MAXIMUM: tl.constexpr,
    DIVISOR: tl.constexpr,
    UNROLLED: tl.constexpr,
    UNIT: tl.constexpr,
    MEMORY: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    K: tl.constexpr = WINDOW[0]
    ELEMENTS: tl.constexpr = K[0] * K[1]
    S: tl.constexpr = WINDOW[1]
    P: tl.constexpr = WINDOW[2]
    channels, size = units * UNIT, (height, width)
    row, _start, column, inside = tile_of(rows, channels, ROWS, COLUMNS, MEMORY[1])
    variant, down, along = locate_rows(row, rows, boxes)
    box = boxes_in(x, size, variant, MEMORY)
    total = tl.full([ROWS, COLUMNS], float("-inf") if MAXIMUM else 0.0, tl.float32)
    if UNROLLED:
        for number in tl.static_range(ELEMENTS):
            total = add_element(
                number, total, x, size, box, down, along, column, inside, channels,
                WINDOW, MAXIMUM, MEMORY,
            )  # fmt: skip
    else:
        for number in range(ELEMENTS):
            total = add_element(
                number, total, x, size, box, down, along, column, inside, channels,
                WINDOW, MAXIMUM, MEMORY,
            )  # fmt: skip
    if not MAXIMUM:
        if DIVISOR is None:
            high = counted(down, size[0], K[0], S[0], P[0], BORDER[0])
            wide = counted(along, size[1], K[1], S[1], P[1], BORDER[1])
            # Rows that are not written must not divide by zero: the interpreter would warn.
            total = total / tl.where(row < rows, high * wide, 1).to(tl.float32)
        else:
            total = total / DIVISOR
    target = output + row * channels + column
    tl.store(target, total.to(output.dtype.element_ty), inside)


class TritonPatches(PatchOperations):
    """Serves what :class:`TritonBackend` serves."""

    name: ClassVar[str] = "triton"

    def gather(self, x: Patches, boxes: Boxes) -> Tensor:
        return x.changed if boxes == x.boxes else _tiled(x, boxes, None)

    def convolve(self, x: Patches, boxes: Boxes, conv: Convolution, epilogue: Epilogue) -> Tensor:
        return convolve(x, boxes, conv, epilogue)

    def pool(self, x: Patches, boxes: Boxes, pooling: Pooling) -> Tensor:
        return _tiled(x, boxes, pooling)


def _tiled(x: Patches, boxes: Boxes, pooling: Pooling | None) -> Tensor:
    """Return the rows of boxes, pooled, or gathered without a pooling."""
    output = x.changed.new_empty(boxes.rows, x.clean.shape[3])
    if output.numel():
        sizes = (output.shape, x.clean.shape, x.changed.shape)
        launch = _launch(sizes, are_aligned(x), pooling)
        launch(output, source_of(x), lookup_of(boxes, output.device))
    return output


@lru_cache(maxsize=PLANS)
def _launch(sizes: tuple[torch.Size, ...], aligned: bool, pooling: Pooling | None) -> Launch:
    """Return the launch for an output, clean and changed pixels of these sizes."""
    (rows, channels), (_, *size, _), _ = sizes
    tall, wide = tile_shape(channels)
    unit = gcd(channels, UNIT)
    return Launch(
        gather_kernel if pooling is None else pool_kernel,
        (-(-rows // tall) * -(-channels // wide),),
        (*size, rows, channels // unit),
        UNIT=unit,
        MEMORY=(aligned, are_wide(*sizes)),
        ROWS=tall,
        COLUMNS=wide,
        **({} if pooling is None else _constants(pooling)),
        **OPTIONS,
    )


def _constants(pooling: Pooling) -> dict[str, object]:
    return {
        "WINDOW": (pooling.extent, pooling.stride, pooling.padding, pooling.dilation),
        "BORDER": pooling.padding if pooling.counts_padding else (0, 0),
        "MAXIMUM": pooling.maximum,
        "DIVISOR": pooling.divisor,
        "UNROLLED": prod(pooling.extent) <= UNROLLED_TURNS,
    }

"""Convolutions of patches, as implicit matrix products.

A row of the implicit matrix holds the input of one output's window. A program computes where each
tap is in memory, loads it, and multiplies. Taps follow one after another, each in steps of
channels; with few channels, as in a stem, one step holds several taps. Bias, residual and clamp
follow before the only rounding.

Depthwise convolutions need no product: a tile of rows and channels accumulates its taps.

Among tuples, `WINDOW` holds extents, strides, paddings and dilations; `bounds` those of the clamp;
`FUSED` whether there are a bias and a residual; `BLOCK` rows, columns and depth.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd, prod
from typing import Any

import torch
import triton
import triton.language as tl
import triton.testing
from torch import Tensor

from torchattr.kernels.patches import Boxes, Convolution, Epilogue, Patches
from torchattr.kernels.pointers import checked_run, run_of
from torchattr.kernels.triton.availability import interpreted
from torchattr.kernels.triton.convolution_kinds import Kind, kind_of
from torchattr.kernels.triton.indexing import UNIT, tile_of
from torchattr.kernels.triton.launch import PLANS, Launch
from torchattr.kernels.triton.lookup import (
    boxes_in,
    input_position,
    locate_rows,
    lookup_of,
    pixels_at,
    source_of,
)
from torchattr.kernels.triton.tuning import (
    EXACT,
    NARROW,
    OPTIONS,
    UNROLLED_TURNS,
    Block,
    can_measure,
    fastest,
    tile_shape,
)

FEW = 16
"""With fewer input channels than this minimal depth of a product, a step holds several taps."""

WORK = 2**30
"""From this number of multiplications on, measuring blocks pays off."""


_measured: dict[tuple[object, ...], Block] = {}


@triton.jit
def finished(
    value,
    bias,
    residual,
    out_size,
    bounds,
    variant,
    down,
    along,
    column,
    inside,
    channels,
    FUSED: tl.constexpr,
    MEMORY: tl.constexpr,
):
    """Add the bias and the residual, and clamp."""
    if FUSED[0]:
        value += tl.load(bias + column, column < channels, other=0).to(tl.float32)
    if FUSED[1]:
        box = boxes_in(residual, out_size, variant, MEMORY)
        pixel, _is_inside = pixels_at(residual, out_size, box, down, along, channels, MEMORY)
        value += tl.load(pixel + column, inside, other=0).to(tl.float32)
    # Not a maximum and a minimum: NaN stays NaN.
    value = tl.where(value < bounds[0], bounds[0], value)
    return tl.where(value > bounds[1], bounds[1], value)


@triton.jit
def taps_of(step, taps, inputs, SEVERAL: tl.constexpr, DEPTH: tl.constexpr):
    """Return taps and channels of a step, its first row of the weights, and the number left."""
    number = tl.arange(0, DEPTH)[None, :]
    if SEVERAL:
        first = step * DEPTH
        tap = (first + number) // inputs
        channel = first + number - tap * inputs
        left = taps * inputs - first
    else:
        blocks = tl.cdiv(inputs, DEPTH)
        tap = step // blocks
        start = (step - tap * blocks) * DEPTH
        channel = start + number
        first = tap * inputs + start
        left = inputs - start
    return tap, channel, first, left


@triton.jit(
    do_not_specialize=[
        "height",
        "width",
        "out_height",
        "out_width",
        "rows",
        "units",
        "out_units",
        "groups",
    ]
)
def product_kernel(
    output,
    x,
    residual,
    boxes,
    weight,
    bias,
    height,
    width,
    out_height,
    out_width,
    bounds,
    rows,
    units,
    out_units,
    groups,
    WINDOW: tl.constexpr,
    UNITS: tl.constexpr,
    SEVERAL: tl.constexpr,
    FUSED: tl.constexpr,
    PRECISION: tl.constexpr,
    LIFTED: tl.constexpr,
    MEMORY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # Older compilers take names for the sides of a block, not items of a tuple.
    ROWS: tl.constexpr = BLOCK[0]
    COLUMNS: tl.constexpr = BLOCK[1]
    DEPTH: tl.constexpr = BLOCK[2]
    TAPS: tl.constexpr = WINDOW[0][0] * WINDOW[0][1]
    size, out_size = (height, width), (out_height, out_width)
    inputs, outputs = units * UNITS[0], out_units * UNITS[1]
    group = tl.program_id(1).to(tl.int64) if MEMORY[1] else tl.program_id(1)
    row, _start, column, inside = tile_of(rows, outputs, ROWS, COLUMNS, MEMORY[1])
    variant, down, along = locate_rows(row, rows, boxes)
    box = boxes_in(x, size, variant, MEMORY)
    weight += group * (TAPS * inputs) * outputs + column
    number = tl.arange(0, DEPTH)
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for step in range(tl.cdiv(TAPS * inputs, DEPTH) if SEVERAL else TAPS * tl.cdiv(inputs, DEPTH)):
        tap, channel, first, left = taps_of(step, TAPS, inputs, SEVERAL, DEPTH)
        tap_down, tap_along = input_position(tap, down, along, WINDOW)
        pixel, is_inside = pixels_at(x, size, box, tap_down, tap_along, groups * inputs, MEMORY)
        known = is_inside & (row < rows) & (number[None, :] < left)
        value = tl.load(pixel + (group * inputs + channel), known, other=0)
        if MEMORY[1]:
            first = first.to(tl.int64)
        known = (number[:, None] < left) & (column < outputs)
        factor = tl.load(weight + (first + number[:, None]) * outputs, known, other=0)
        if LIFTED:
            value, factor = value.to(tl.float32), factor.to(tl.float32)
        total = tl.dot(value, factor, total, input_precision=PRECISION)
    channels = groups * outputs
    column += group * outputs
    total = finished(
        total, bias, residual, out_size, bounds, variant, down, along, column, inside, channels,
        FUSED, MEMORY,
    )  # fmt: skip
    tl.store(output + row * channels + column, total.to(output.dtype.element_ty), inside)


@triton.jit
def add_tap(
    number,
    total,
    x,
    size,
    box,
    down,
    along,
    weight,
    column,
    inside,
    channels,
    WINDOW: tl.constexpr,
    MEMORY: tl.constexpr,
):
    """Add one tap of every window of a tile, each channel by its own weight."""
    down, along = input_position(number, down, along, WINDOW)
    pixel, is_inside = pixels_at(x, size, box, down, along, channels, MEMORY)
    value = tl.load(pixel + column, inside & is_inside, other=0).to(tl.float32)
    factor = tl.load(weight + number * channels + column, column < channels, other=0)
    return total + value * factor.to(tl.float32)


@triton.jit(do_not_specialize=["height", "width", "out_height", "out_width", "rows", "units"])
def depthwise_kernel(
    output,
    x,
    residual,
    boxes,
    weight,
    bias,
    height,
    width,
    out_height,
    out_width,
    bounds,
    rows,
    units,
    WINDOW: tl.constexpr,
    UNROLLED: tl.constexpr,
    UNIT: tl.constexpr,
    FUSED: tl.constexpr,
    MEMORY: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    K: tl.constexpr = WINDOW[0]
    ELEMENTS: tl.constexpr = K[0] * K[1]
    size, out_size = (height, width), (out_height, out_width)
    channels = units * UNIT
    row, _start, column, inside = tile_of(rows, channels, ROWS, COLUMNS, MEMORY[1])
    variant, down, along = locate_rows(row, rows, boxes)
    box = boxes_in(x, size, variant, MEMORY)
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    if UNROLLED:
        for number in tl.static_range(ELEMENTS):
            total = add_tap(
                number, total, x, size, box, down, along, weight, column, inside, channels,
                WINDOW, MEMORY,
            )  # fmt: skip
    else:
        for number in range(ELEMENTS):
            total = add_tap(
                number, total, x, size, box, down, along, weight, column, inside, channels,
                WINDOW, MEMORY,
            )  # fmt: skip
    total = finished(
        total, bias, residual, out_size, bounds, variant, down, along, column, inside, channels,
        FUSED, MEMORY,
    )  # fmt: skip
    tl.store(output + row * channels + column, total.to(output.dtype.element_ty), inside)


def convolve(x: Patches, boxes: Boxes, conv: Convolution, epilogue: Epilogue) -> Tensor:
    """Return the rows of `boxes`."""
    output = x.changed.new_empty(boxes.rows, len(conv.weight))
    if not output.numel():
        return output
    kind = kind_of(x, conv, epilogue, output)
    if conv.weight.shape[1] == 1 and len(conv.weight) == conv.groups:
        _depthwise(kind)(*_tensors(x, boxes, conv, epilogue, output, together=1))
    else:
        tensors = _tensors(x, boxes, conv, epilogue, output, together=conv.groups)
        _product(kind, _block_for(tensors, kind))(*tensors)
    return output


@lru_cache(maxsize=PLANS)
def _depthwise(kind: Kind) -> Launch:
    rows, channels = kind.sizes[0]
    tall, wide = tile_shape(channels)
    unit = gcd(channels, UNIT)
    return Launch(
        depthwise_kernel,
        (-(-rows // tall) * -(-channels // wide),),
        (*kind.images, kind.bounds, rows, channels // unit),
        WINDOW=kind.window,
        UNROLLED=kind.taps <= UNROLLED_TURNS,
        UNIT=unit,
        FUSED=kind.fused,
        MEMORY=kind.memory,
        ROWS=tall,
        COLUMNS=wide,
        **OPTIONS,
    )


@lru_cache(maxsize=PLANS)
def _product(kind: Kind, block: Block) -> Launch:
    rows, inputs, outputs = kind.sizes[0][0], kind.depth, kind.outputs
    units = gcd(inputs, UNIT), gcd(outputs, UNIT)
    columns = min(block.columns, _at_least_16(outputs))
    return Launch(
        product_kernel,
        (-(-rows // block.rows) * -(-outputs // columns), kind.groups),
        (
            *kind.images,
            kind.bounds,
            rows,
            inputs // units[0],
            outputs // units[1],
            kind.groups,
        ),
        WINDOW=kind.window,
        UNITS=units,
        SEVERAL=inputs < FEW,
        FUSED=kind.fused,
        PRECISION=kind.precision,
        # The interpreter treats the bits of bfloat16 as integers.
        LIFTED=interpreted(),
        MEMORY=kind.memory,
        BLOCK=(block.rows, columns, min(block.depth, _at_least_16(inputs * kind.taps))),
        num_warps=block.warps,
        num_stages=block.stages,
        **OPTIONS,
    )


def _block_for(tensors: tuple[Any, ...], kind: Kind) -> Block:
    """Return the fastest block for such a convolution, for a small one the first."""
    exact = kind.dtype == torch.float32 and kind.precision == "ieee"
    choices = EXACT if exact else NARROW
    output: Tensor = tensors[0]
    if output.numel() * kind.depth * kind.taps < WORK or not can_measure(output):
        return choices[0]
    widths = min(128, _at_least_16(kind.outputs)), min(128, _at_least_16(kind.depth))
    few = kind.depth < FEW
    key = (output.device, kind.dtype, kind.precision, kind.taps == 1, *widths, few)
    if key not in _measured:

        def milliseconds(block: Block) -> float:
            launch = _product(kind, block)
            median: float = triton.testing.do_bench(lambda: launch(*tensors), 5, 20)
            return median

        with torch.cuda.device_of(output):
            _measured[key] = fastest(milliseconds, choices)
    return _measured[key]


def _tensors(
    x: Patches, boxes: Boxes, conv: Convolution, epilogue: Epilogue, output: Tensor, together: int
) -> tuple[Any, ...]:
    """Return the first arguments of both kernels; absent tensors are never read."""
    bias = output if conv.bias is None else checked_run(run_of(conv.bias), len(conv.weight))
    return (
        output,
        source_of(x),
        source_of(x if epilogue.residual is None else epilogue.residual),
        lookup_of(boxes, output.device),
        _packed_weight(conv, together),
        bias,
    )


def _packed_weight(conv: Convolution, groups: int) -> Tensor:
    """Return the scaled weights as `(groups, taps, in, out)`; depthwise ones are one group."""
    if "taps first" not in conv.packed:
        _, inputs, *extent = conv.weight.shape
        grouped = conv.scaled.weight.reshape(groups, -1, inputs, prod(extent))
        conv.packed["taps first"] = run_of(grouped.permute(0, 3, 2, 1))
    packed: Tensor = conv.packed["taps first"]
    return packed


def _at_least_16(number: int) -> int:
    """Return the next power of 2 that a product accepts as a side."""
    return max(16, 1 << (number - 1).bit_length())

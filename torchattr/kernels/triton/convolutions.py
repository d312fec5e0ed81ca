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

from collections.abc import Callable
from math import gcd, prod

import torch
import triton
import triton.language as tl
import triton.testing
from torch import Tensor

from torchattr.kernels.patches import Boxes, Convolution, Epilogue, Patches
from torchattr.kernels.pointers import checked_run, run_of
from torchattr.kernels.triton.availability import interpreted
from torchattr.kernels.triton.indexing import UNIT, is_wide, tile_of
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
    x,
    height,
    width,
    residual,
    out_height,
    out_width,
    boxes,
    weight,
    bias,
    output,
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
    x,
    height,
    width,
    residual,
    out_height,
    out_width,
    boxes,
    weight,
    bias,
    output,
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
    with torch.cuda.device_of(output):
        if conv.weight.shape[1] == 1 and len(conv.weight) == conv.groups:
            _depthwise(x, boxes, conv, epilogue, output)
        else:
            _product(x, boxes, conv, epilogue, output)
    return output


def _depthwise(
    x: Patches, boxes: Boxes, conv: Convolution, epilogue: Epilogue, output: Tensor
) -> None:
    rows, channels = output.shape
    tall, wide = tile_shape(channels)
    unit = gcd(channels, UNIT)
    depthwise_kernel[(-(-rows // tall) * -(-channels // wide),)](
        *_tensors(x, boxes, conv, epilogue, output, together=1),
        (epilogue.lower, epilogue.upper),
        rows,
        channels // unit,
        WINDOW=_window(conv),
        UNROLLED=prod(conv.extent) <= UNROLLED_TURNS,
        UNIT=unit,
        FUSED=(conv.bias is not None, epilogue.residual is not None),
        MEMORY=_memory(x, boxes, conv, epilogue, output),
        ROWS=tall,
        COLUMNS=wide,
        **OPTIONS,
    )


def _product(
    x: Patches, boxes: Boxes, conv: Convolution, epilogue: Epilogue, output: Tensor
) -> None:
    outputs, inputs = len(conv.weight) // conv.groups, conv.weight.shape[1]
    units = gcd(inputs, UNIT), gcd(outputs, UNIT)
    tensors = _tensors(x, boxes, conv, epilogue, output, together=conv.groups)
    precision = _precision(output.dtype)
    memory = _memory(x, boxes, conv, epilogue, output)

    def launch(block: Block) -> None:
        columns = min(block.columns, _at_least_16(outputs))
        blocks = -(-len(output) // block.rows) * -(-outputs // columns)
        product_kernel[(blocks, conv.groups)](
            *tensors,
            (epilogue.lower, epilogue.upper),
            len(output),
            inputs // units[0],
            outputs // units[1],
            conv.groups,
            WINDOW=_window(conv),
            UNITS=units,
            SEVERAL=inputs < FEW,
            FUSED=(conv.bias is not None, epilogue.residual is not None),
            PRECISION=precision,
            # The interpreter treats the bits of bfloat16 as integers.
            LIFTED=interpreted(),
            MEMORY=memory,
            BLOCK=(block.rows, columns, min(block.depth, _at_least_16(conv.weight[0].numel()))),
            num_warps=block.warps,
            num_stages=block.stages,
            **OPTIONS,
        )

    launch(_block_for(launch, conv, output, precision))


def _block_for(
    launch: Callable[[Block], None], conv: Convolution, output: Tensor, precision: str
) -> Block:
    """Return the fastest block for such a convolution, for a small one the first."""
    exact = output.dtype == torch.float32 and precision == "ieee"
    choices = EXACT if exact else NARROW
    outputs, inputs = len(conv.weight) // conv.groups, conv.weight.shape[1]
    if output.numel() * conv.weight[0].numel() < WORK or not can_measure(output):
        return choices[0]
    widths = min(128, _at_least_16(outputs)), min(128, _at_least_16(inputs)), inputs < FEW
    key = (output.device, output.dtype, precision, prod(conv.extent) == 1, *widths)
    if key not in _measured:

        def milliseconds(block: Block) -> float:
            median: float = triton.testing.do_bench(lambda: launch(block), 5, 20)
            return median

        _measured[key] = fastest(milliseconds, choices)
    return _measured[key]


def _precision(dtype: torch.dtype) -> str:
    """Return the precision of float32 products: TF32 only if PyTorch may use it, too."""
    allowed = torch.backends.cuda.matmul.fp32_precision == "tf32"
    return "tf32" if dtype == torch.float32 and allowed else "ieee"


def _tensors(
    x: Patches, boxes: Boxes, conv: Convolution, epilogue: Epilogue, output: Tensor, together: int
) -> tuple[object, ...]:
    """Return the first arguments of both kernels; absent tensors are never read."""
    bias = output if conv.bias is None else checked_run(run_of(conv.bias), len(conv.weight))
    residual = x if epilogue.residual is None else epilogue.residual
    return (
        source_of(x),
        *x.clean.shape[1:3],
        source_of(residual),
        *residual.clean.shape[1:3],
        lookup_of(boxes, output.device),
        _packed_weight(conv, together),
        bias,
        output,
    )


def _window(conv: Convolution) -> tuple[tuple[int, int], ...]:
    return conv.extent, conv.stride, conv.padding, conv.dilation


def _packed_weight(conv: Convolution, groups: int) -> Tensor:
    """Return the scaled weights as `(groups, taps, in, out)`; depthwise ones are one group."""
    if "taps first" not in conv.packed:
        _, inputs, *extent = conv.weight.shape
        grouped = conv.scaled.weight.reshape(groups, -1, inputs, prod(extent))
        conv.packed["taps first"] = run_of(grouped.permute(0, 3, 2, 1))
    packed: Tensor = conv.packed["taps first"]
    return packed


def _memory(
    x: Patches, boxes: Boxes, conv: Convolution, epilogue: Epilogue, output: Tensor
) -> tuple[bool, bool]:
    """Return whether activations are aligned, and whether offsets need more than 32 bits."""
    written = Patches(x.clean, output, boxes)
    wide = are_wide(x, epilogue.residual, written) or is_wide(conv.weight)
    return are_aligned(x, epilogue.residual), wide


def _at_least_16(number: int) -> int:
    """Return the next power of 2 that a product accepts as a side."""
    return max(16, 1 << (number - 1).bit_length())

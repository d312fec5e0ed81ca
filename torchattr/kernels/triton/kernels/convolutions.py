"""Convolutions of patches, as products of matrices of which one is never written.

A row of that matrix is what one output's window sees. A program reckons where each of its taps
lies, reads it there, and multiplies. Taps follow one after another, each in steps of channels;
where there are few channels, as in a stem, one step holds several taps. Bias, residual and clamp
follow before the only rounding.

Where each channel is convolved alone there is no product: a tile of rows and channels adds up its
taps.

Of tuples, `WINDOW` holds extents, strides, paddings and dilations; `bounds` the clamp's; `FUSED`
whether there are a bias and a residual; `BLOCK` rows, columns and depth.
"""

from __future__ import annotations

import triton
import triton.language as tl

from torchattr.kernels.triton.kernels.lookup import boxes_in, pixels_at, places_of
from torchattr.kernels.triton.kernels.patches import place_in
from torchattr.kernels.triton.kernels.pools import tile_of


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
        pixel, _is_seen = pixels_at(residual, out_size, box, down, along, channels, MEMORY)
        value += tl.load(pixel + column, inside, other=0).to(tl.float32)
    # Not a maximum and a minimum: NaN stays NaN.
    value = tl.where(value < bounds[0], bounds[0], value)
    return tl.where(value > bounds[1], bounds[1], value)


@triton.jit
def part_of(step, taps, inputs, SEVERAL: tl.constexpr, DEPTH: tl.constexpr):
    """Give taps and channels of a step, the row of the weights it begins with, and what is left."""
    number = tl.arange(0, DEPTH)[None, :]
    if SEVERAL:
        first = step * DEPTH
        tap = (first + number) // inputs
        channel = first + number - tap * inputs
        left = taps * inputs - first
    else:
        blocks = tl.cdiv(inputs, DEPTH)
        tap = step // blocks
        begun = (step - tap * blocks) * DEPTH
        channel = begun + number
        first = tap * inputs + begun
        left = inputs - begun
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
    variant, down, along = places_of(row, rows, boxes)
    box = boxes_in(x, size, variant, MEMORY)
    weight += group * (TAPS * inputs) * outputs + column
    number = tl.arange(0, DEPTH)
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for step in range(tl.cdiv(TAPS * inputs, DEPTH) if SEVERAL else TAPS * tl.cdiv(inputs, DEPTH)):
        tap, channel, first, left = part_of(step, TAPS, inputs, SEVERAL, DEPTH)
        looked_down, looked_along = place_in(tap, down, along, WINDOW)
        pixel, is_seen = pixels_at(x, size, box, looked_down, looked_along, groups * inputs, MEMORY)
        seen = is_seen & (row < rows) & (number[None, :] < left)
        value = tl.load(pixel + (group * inputs + channel), seen, other=0)
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
    down, along = place_in(number, down, along, WINDOW)
    pixel, is_seen = pixels_at(x, size, box, down, along, channels, MEMORY)
    value = tl.load(pixel + column, inside & is_seen, other=0).to(tl.float32)
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
    PLACES: tl.constexpr = K[0] * K[1]
    size, out_size = (height, width), (out_height, out_width)
    channels = units * UNIT
    row, _start, column, inside = tile_of(rows, channels, ROWS, COLUMNS, MEMORY[1])
    variant, down, along = places_of(row, rows, boxes)
    box = boxes_in(x, size, variant, MEMORY)
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    if UNROLLED:
        for number in tl.static_range(PLACES):
            total = add_tap(
                number, total, x, size, box, down, along, weight, column, inside, channels,
                WINDOW, MEMORY,
            )  # fmt: skip
    else:
        for number in range(PLACES):
            total = add_tap(
                number, total, x, size, box, down, along, weight, column, inside, channels,
                WINDOW, MEMORY,
            )  # fmt: skip
    total = finished(
        total, bias, residual, out_size, bounds, variant, down, along, column, inside, channels,
        FUSED, MEMORY,
    )  # fmt: skip
    tl.store(output + row * channels + column, total.to(output.dtype.element_ty), inside)

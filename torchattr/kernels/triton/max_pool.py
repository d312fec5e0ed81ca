"""Max-pools with switches, in one to three dimensions: the kernel and its launch.

Tiles are those of :mod:`torchattr.kernels.triton.volumes`. Loops over a window's elements are
unrolled, so that most of their arithmetic is done when the kernel is compiled; only large windows
loop at run time.

Window parameters come as tuples `K` (extents), `S` (strides), `P` (paddings) and `L` (dilations).
`a`, `b` and `c` are the sizes of the dimensions before the fastest, from the fastest of these.
Tuples of steps are strides in elements; results are dense.

Rows have `units * UNIT` elements: a kernel that knows that they start where 16-byte loads may can
use these. If it knew the length itself, each image size would need one more kernel.
"""

from __future__ import annotations

from math import gcd

import triton
import triton.language as tl
from torch import Tensor

from torchattr.kernels.layout import Window
from torchattr.kernels.triton.indexing import UNIT, is_wide, tile_of
from torchattr.kernels.triton.tuning import UNROLLED_TURNS
from torchattr.kernels.triton.volumes import Frame, Tiles, is_channels_last, position_of


@triton.jit
def first_element(corner, L: tl.constexpr):
    """Return the first element of a window, in one dimension, that is inside the input."""
    return (tl.maximum(L - 1 - corner, 0) // L).to(tl.int32)


@triton.jit
def compare(
    number,
    best,
    won,
    x,
    offset,
    corner,
    inside,
    size,
    step,
    K: tl.constexpr,
    L: tl.constexpr,
    CHECKED: tl.constexpr,
):
    """Compare one element of every window of a tile: it wins if it is larger, or NaN."""
    d = corner[0] + number // (K[1] * K[2]) * L[0]
    h = corner[1] + number // K[2] % K[1] * L[1]
    w = corner[2] + number % K[2] * L[2]
    if CHECKED:
        inside = inside & (d >= 0) & (d < size[0]) & (h >= 0) & (h < size[1])
        inside = inside & (w >= 0) & (w < size[2])
    offset += d * step[2] + h * step[3] + w * step[4]
    value = tl.load(x + offset, inside, other=float("-inf")).to(tl.float32)
    wins = (value > best) | (value != value)
    return tl.where(wins, value, best), tl.where(wins, number, won)


@triton.jit(do_not_specialize=["rows", "units", "a", "b", "c", "D", "H", "W"])
def max_pool_kernel(
    x,
    values,
    switches,
    rows,
    units,
    a,
    b,
    c,
    D,
    H,
    W,
    step,
    K: tl.constexpr,
    S: tl.constexpr,
    P: tl.constexpr,
    L: tl.constexpr,
    LAST: tl.constexpr,
    UNIT: tl.constexpr,
    UNROLLED: tl.constexpr,
    CHECKED: tl.constexpr,
    TELLS: tl.constexpr,
    WIDE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    ELEMENTS: tl.constexpr = K[0] * K[1] * K[2]
    row, _start, column, inside = tile_of(rows, units * UNIT, ROWS, COLUMNS, WIDE)
    n, c, d, h, w = position_of(row, column, (a, b, c), LAST, WIDE)
    corner = (d * S[0] - P[0], h * S[1] - P[1], w * S[2] - P[2])
    offset = n * step[0] + c * step[1]
    best = tl.full([ROWS, COLUMNS], float("-inf"), tl.float32)
    won = tl.zeros([ROWS, COLUMNS], tl.int32)
    if CHECKED:
        won += first_element(corner[0], L[0]) * (K[1] * K[2])
        won += first_element(corner[1], L[1]) * K[2] + first_element(corner[2], L[2])
    if UNROLLED:
        for number in tl.static_range(ELEMENTS):
            best, won = compare(
                number, best, won, x, offset, corner, inside, (D, H, W), step, K, L, CHECKED
            )
    else:
        for number in range(ELEMENTS):
            best, won = compare(
                number, best, won, x, offset, corner, inside, (D, H, W), step, K, L, CHECKED
            )
    if TELLS:
        won = won | ((best > 0).to(tl.int32) << 7)
    offset = row * (units * UNIT) + column
    tl.store(values + offset, best.to(values.dtype.element_ty), inside)
    tl.store(switches + offset, won.to(switches.dtype.element_ty), inside)


def max_pool(x: Tensor, values: Tensor, switches: Tensor, window: Window) -> None:
    """Write the maxima of the windows over the volume `x`, and their switches."""
    frame = Frame.of(window)
    last = is_channels_last(values)
    tile = Tiles.over(values.shape, last, is_wide(x, values))
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
        UNROLLED=frame.elements <= UNROLLED_TURNS,
        CHECKED=window.ceil_mode or any(window.padding),
        TELLS=window.tells_open,
        **tile.options,
    )

"""Max-pools with switches, and back through them, in one to three dimensions.

A program works on a tile of rows and columns. Columns run along the dimension that is fastest in
memory: the width, or in channels-last tensors the channels. So what all elements of a row share is
reckoned once a row. Loops over places and windows are unrolled, so that most of their arithmetic
is done when the kernel is compiled; only windows of many places loop when it runs.

Tensors are volumes, `(N, C, D, H, W)`: a picture is one of depth 1. Window parameters come as
tuples `K` (extents), `S` (strides), `P` (paddings) and `L` (dilations). A row's number counts the
dimensions before the fastest, of which `a`, `b` and `c` are the sizes, from the fastest of these.
Tuples of steps say how far apart neighbours lie in memory, in elements; results are dense.

Rows have `units * UNIT` elements: a kernel that knows that they start where 16-byte loads may can
use these. If it knew the length itself, each size of picture would need one more kernel.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def tile_of(rows, length, ROWS: tl.constexpr, COLUMNS: tl.constexpr, WIDE: tl.constexpr):
    """Give the rows of this program, its first column, and which of both there are."""
    blocks = tl.cdiv(length, COLUMNS)
    first = tl.program_id(0) // blocks
    if WIDE:
        first = first.to(tl.int64)
    row = first * ROWS + tl.arange(0, ROWS)[:, None]
    start = tl.program_id(0) % blocks * COLUMNS
    column = start + tl.arange(0, COLUMNS)[None, :]
    return row, start, column, (row < rows) & (column < length)


@triton.jit
def position_of(row, column, parts, LAST: tl.constexpr, WIDE: tl.constexpr):
    """Give example, channel and place of the elements of a tile."""
    rest, a = row // parts[0], row % parts[0]
    rest, b = rest // parts[1], rest % parts[1]
    n, c = rest // parts[2], rest % parts[2]
    if WIDE:
        column = column.to(tl.int64)
    return (n, column, c, b, a) if LAST else (n, c, b, a, column)


@triton.jit
def first_place(corner, L: tl.constexpr):
    """Give the first place of a window, in one dimension, that lies in the input."""
    return (tl.maximum(L - 1 - corner, 0) // L).to(tl.int32)


@triton.jit
def look_at(
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
    """Look at one place of every window of a tile: it wins if it is larger, or NaN."""
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
    PLACES: tl.constexpr = K[0] * K[1] * K[2]
    row, _start, column, inside = tile_of(rows, units * UNIT, ROWS, COLUMNS, WIDE)
    n, c, d, h, w = position_of(row, column, (a, b, c), LAST, WIDE)
    corner = (d * S[0] - P[0], h * S[1] - P[1], w * S[2] - P[2])
    offset = n * step[0] + c * step[1]
    best = tl.full([ROWS, COLUMNS], float("-inf"), tl.float32)
    won = tl.zeros([ROWS, COLUMNS], tl.int32)
    if CHECKED:
        won += first_place(corner[0], L[0]) * (K[1] * K[2])
        won += first_place(corner[1], L[1]) * K[2] + first_place(corner[2], L[2])
    if UNROLLED:
        for number in tl.static_range(PLACES):
            best, won = look_at(
                number, best, won, x, offset, corner, inside, (D, H, W), step, K, L, CHECKED
            )
    else:
        for number in range(PLACES):
            best, won = look_at(
                number, best, won, x, offset, corner, inside, (D, H, W), step, K, L, CHECKED
            )
    if TELLS:
        won = won | ((best > 0).to(tl.int32) << 7)
    place = row * (units * UNIT) + column
    tl.store(values + place, best.to(values.dtype.element_ty), inside)
    tl.store(switches + place, won.to(switches.dtype.element_ty), inside)

"""Max-pools with switches, in one to three dimensions: the kernel and its launch.

Tiles are those of :mod:`torchattr.kernels.triton.volumes`. Loops over a window's elements are
unrolled, so that most of their arithmetic is done when the kernel is compiled; only large windows
loop at run time.

Window parameters come as tuples `K` (extents), `S` (strides), `P` (paddings) and `L` (dilations).
Tuples of steps are strides in elements; results are dense.

Channels-last rows have `units * UNIT` elements: a kernel that knows that they start where 16-byte
loads may can use these. If it knew the length itself, each number of channels would need one more
kernel. In all other volumes, neighbouring threads take neighbouring windows. `zero` is zero, which
the compiler must not know: if it saw aligned results there, it would give each thread several
neighbours, whose inputs are far apart for one instruction.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchattr.kernels.layout import Window, pooled_shape
from torchattr.kernels.triton.indexing import is_below, is_wide
from torchattr.kernels.triton.launch import PLANS, Launch
from torchattr.kernels.triton.pairs import are_paired, half_of, is_pair_aligned, load_pair
from torchattr.kernels.triton.tuning import UNROLLED_TURNS
from torchattr.kernels.triton.volumes import (
    COUNTED,
    Blank,
    Frame,
    Tiles,
    VolumePlan,
    are_joined,
    as_volume,
    blank_volume,
    is_channels_last,
    offset_of,
    position_of,
    pretended,
    steps_of,
    tile_of_volume,
    volume_shape,
)


@triton.jit
def first_element(corner, L: tl.constexpr):
    """Return the first element of a window, in one dimension, that is inside the input."""
    return (tl.maximum(L - 1 - corner, 0) // L).to(tl.int32)


@triton.jit
def element(
    number,
    x,
    corner,
    inside,
    size,
    step,
    K: tl.constexpr,
    P: tl.constexpr,
    L: tl.constexpr,
    CHECKED: tl.constexpr,
    PAIRED: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Return one element of every window of a tile, or minus infinity outside the input."""
    deep = number // (K[1] * K[2]) * L[0]
    high = number // K[2] % K[1] * L[1]
    # Which element of its pair it is; the pair is loaded for both.
    LANE: tl.constexpr = (number % K[2] * L[2] - P[2]) % 2 if PAIRED else 0
    wide = number % K[2] * L[2] - LANE
    if CHECKED:
        # A window of one element lies inside.
        if K[0] > 1:
            inside = inside & is_below(corner[0] + deep, size[0], WIDE)
        if K[1] > 1:
            inside = inside & is_below(corner[1] + high, size[1], WIDE)
        if K[2] > 1:
            inside = inside & is_below(corner[2] + wide, size[2], WIDE)
    # Distances within a window are the same for all of a tile, mostly known to the compiler.
    x += deep * step[2] + high * step[3]
    x += wide * step[4]
    if PAIRED:
        value = half_of(load_pair(x, inside), LANE, x.dtype.element_ty)
    else:
        value = tl.load(x, inside, other=float("-inf")).to(tl.float32)
    return value


@triton.jit
def compare(
    number,
    best,
    won,
    x,
    corner,
    inside,
    size,
    step,
    K: tl.constexpr,
    P: tl.constexpr,
    L: tl.constexpr,
    CHECKED: tl.constexpr,
    PAIRED: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Compare one element of every window of a tile: it wins if it is larger, or NaN."""
    value = element(number, x, corner, inside, size, step, K, P, L, CHECKED, PAIRED, WIDE)
    wins = (value > best) | (value != value)
    return tl.where(wins, value, best), tl.where(wins, number, won)


@triton.jit
def winners(
    x,
    corner,
    inside,
    size,
    step,
    K: tl.constexpr,
    P: tl.constexpr,
    L: tl.constexpr,
    UNROLLED: tl.constexpr,
    CHECKED: tl.constexpr,
    PAIRED: tl.constexpr,
    WIDE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Return the maximum of every window of a tile, and its number."""
    ELEMENTS: tl.constexpr = K[0] * K[1] * K[2]
    won = tl.zeros([ROWS, COLUMNS], tl.int32)
    if CHECKED:
        won += first_element(corner[0], L[0]) * (K[1] * K[2])
        won += first_element(corner[1], L[1]) * K[2] + first_element(corner[2], L[2])
    # The first that is inside has won so far: only a larger one, or NaN, can win over it.
    best = element(0, x, corner, inside, size, step, K, P, L, CHECKED, PAIRED, WIDE)
    if UNROLLED:
        for number in tl.static_range(1, ELEMENTS):
            best, won = compare(
                number, best, won, x, corner, inside, size, step, K, P, L, CHECKED, PAIRED, WIDE
            )
    else:
        for number in range(1, ELEMENTS):
            best, won = compare(
                number, best, won, x, corner, inside, size, step, K, P, L, CHECKED, PAIRED, WIDE
            )
    return best, won


@triton.jit(do_not_specialize=["zero", *COUNTED, "D", "H", "W"])
def max_pool_kernel(
    x,
    values,
    switches,
    zero,
    rows,
    units,
    p0,
    f0,
    s0,
    p1,
    f1,
    s1,
    p2,
    f2,
    s2,
    p3,
    f3,
    s3,
    D,
    H,
    W,
    step,
    K: tl.constexpr,
    S: tl.constexpr,
    P: tl.constexpr,
    L: tl.constexpr,
    DEEP: tl.constexpr,
    LAST: tl.constexpr,
    JOINED: tl.constexpr,
    UNIT: tl.constexpr,
    UNROLLED: tl.constexpr,
    CHECKED: tl.constexpr,
    PAIRED: tl.constexpr,
    TELLS: tl.constexpr,
    WIDE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    columns = units * UNIT if LAST else 1
    first, row, column, inside = tile_of_volume(rows, columns, ROWS, COLUMNS, WIDE)
    counted = (p0, f0, s0, p1, f1, s1, p2, f2, s2, p3, f3, s3)
    n, c, d, h, w = position_of(first, row, column, counted, DEEP, LAST, JOINED, WIDE)
    corner = (d * S[0] - P[0], h * S[1] - P[1], w * S[2] - P[2])
    step = steps_of(step, WIDE)
    x += offset_of((n, c, corner[0], corner[1], corner[2]), step)
    best, won = winners(
        x, corner, inside, (D, H, W), step, K, P, L, UNROLLED, CHECKED, PAIRED, WIDE, ROWS, COLUMNS
    )
    if TELLS:
        won = won | ((best > 0).to(tl.int32) << 7)
    offset = (first + row) * columns + column
    if not LAST:
        offset += zero
    tl.store(values + offset, best.to(values.dtype.element_ty), inside)
    tl.store(switches + offset, won.to(switches.dtype.element_ty), inside)


def max_pool(x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """Return the maxima of the windows over `x`, and their switches."""
    plan = _plan(x.shape, x.stride(), x.dtype, is_pair_aligned(x), window)
    values = plan.blank.like(x, x.dtype)
    switches = plan.blank.like(x, window.switch_dtype)
    if plan.launch is not None:
        plan.launch(x, values, switches)
    return values, switches


@lru_cache(maxsize=PLANS)
def _plan(
    shape: torch.Size, steps: tuple[int, ...], dtype: torch.dtype, aligned: bool, window: Window
) -> VolumePlan:
    dims = len(window.extent)
    output = pooled_shape(tuple(shape), window)
    x = as_volume(pretended(shape, steps, dtype), dims)
    last = is_channels_last(x)
    values = blank_volume(x, volume_shape(output, dims), last, dtype)
    launch = _launch(x, values, aligned, window) if values.numel() else None
    return VolumePlan(Blank.of(values, output), launch)


def _launch(x: Tensor, values: Tensor, aligned: bool, window: Window) -> Launch:
    """Return the launch for volumes like these, whose pairs are aligned in memory or not."""
    frame = Frame.of(window)
    last = is_channels_last(values)
    tile = Tiles.over(values.shape, x.itemsize, last, is_wide(x, values))
    is_unrolled = frame.elements <= UNROLLED_TURNS
    return Launch(
        max_pool_kernel,
        tile.grid,
        (0, *tile.counted, *x.shape[2:], x.stride()),
        K=frame.extent,
        S=frame.stride,
        P=frame.padding,
        L=frame.dilation,
        LAST=last,
        JOINED=are_joined(x),
        UNROLLED=is_unrolled,
        CHECKED=window.ceil_mode or any(window.padding),
        PAIRED=is_unrolled and not last and frame.stride[2] == 2 and aligned and are_paired(x),
        TELLS=window.tells_open,
        **tile.options,
    )

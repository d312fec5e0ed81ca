"""Max-pool backward from switches: each input element gathers the gradients that it gets.

Tiles, tuples and steps are those of :mod:`torchattr.kernels.triton.max_pool`. A program fills a
tile of *cells*, which hold as many input elements as the strides say. All elements at the same
position of their cell are covered by the same windows, at the same positions of these. So what
would be a search for one element is known for the whole tile when the kernel is compiled.

`WINDOW` holds `K`, `S`, `P` and `L`, then the first window over a cell and their number, in each
dimension. Where cells are two wide along a row, both halves are gathered and written at once
(`PAIRED`). A kernel gathers `HELD` positions before it writes any, so that it waits for its loads
once, and loads once what several of them need.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import NamedTuple, TypeAlias

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchattr.kernels.layout import OPEN, Window
from torchattr.kernels.triton.indexing import is_below, is_wide
from torchattr.kernels.triton.launch import PLANS, Launch
from torchattr.kernels.triton.pairs import are_paired, store_pair
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

MOST_HELD = 8
"""So many sums of each thread's cells fit its registers."""


@triton.jit
def covers(away, K, L):
    """Whether a window has an element so far from its corner."""
    return (away >= 0) & (away <= (K - 1) * L) & (away % L == 0)


@triton.jit
def add_window(
    number,
    total,
    residue,
    lane,
    source,
    cell,
    inside,
    out,
    step,
    switch_step,
    WINDOW: tl.constexpr,
    PAIRED: tl.constexpr,
    LIFTED: tl.constexpr,
    TELLS: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Add what one of the windows over each element of a tile sends to it."""
    K: tl.constexpr = WINDOW[0]
    S: tl.constexpr = WINDOW[1]
    P: tl.constexpr = WINDOW[2]
    L: tl.constexpr = WINDOW[3]
    FIRST: tl.constexpr = WINDOW[4]
    COUNT: tl.constexpr = WINDOW[5]
    WAYS: tl.constexpr = 1 if PAIRED else S[2]
    md = FIRST[0] + number // (COUNT[1] * COUNT[2])
    mh = FIRST[1] + number // COUNT[2] % COUNT[1]
    mw = FIRST[2] + number % COUNT[2]
    # Distance of the element from the window's corner.
    away_d = residue // (S[1] * WAYS) + P[0] - S[0] * md
    away_h = residue // WAYS % S[1] + P[1] - S[1] * mh
    away_w = residue % WAYS + lane + P[2] - S[2] * mw
    target = (away_d // L[0] * K[1] + away_h // L[1]) * K[2] + away_w // L[2] + LIFTED
    # Not an element of the window, if it falls between those of a dilated one.
    inside = inside & covers(away_h, K[1], L[1]) & covers(away_w, K[2], L[2])
    inside = inside & is_below(cell[1] + mh, out[1], WIDE) & is_below(cell[2] + mw, out[2], WIDE)
    # Images have the depth of their windows.
    if K[0] * S[0] > 1:
        inside = inside & covers(away_d, K[0], L[0]) & is_below(cell[0] + md, out[0], WIDE)
    gradient = source[0] + (md * step[2] + mh * step[3])
    value = tl.load(gradient + mw * step[4], inside, other=0).to(tl.float32)
    chosen = source[1] + (md * switch_step[2] + mh * switch_step[3])
    switch = tl.load(chosen + mw * switch_step[4], inside, other=0).to(tl.int32)
    if TELLS and LIFTED == 0:
        switch = switch & 127
    # Selected, not multiplied: an infinite gradient goes to its winner alone.
    return total + tl.where(switch == target, value, 0.0)


@triton.jit
def gather(
    residue,
    lane,
    source,
    cell,
    inside,
    out,
    step,
    switch_step,
    WINDOW: tl.constexpr,
    UNROLLED: tl.constexpr,
    PAIRED: tl.constexpr,
    LIFTED: tl.constexpr,
    TELLS: tl.constexpr,
    SIGNED: tl.constexpr,
    WIDE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Return what all windows send to one position of the cells of a tile."""
    COUNT: tl.constexpr = WINDOW[5]
    WINDOWS: tl.constexpr = COUNT[0] * COUNT[1] * COUNT[2]
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    # In row-major order of the windows, so that the sum is the same in every run.
    if UNROLLED:
        for number in tl.static_range(WINDOWS):
            total = add_window(
                number, total, residue, lane, source, cell, inside, out, step, switch_step,
                WINDOW, PAIRED, LIFTED, TELLS, WIDE,
            )  # fmt: skip
    else:
        for number in range(WINDOWS):
            total = add_window(
                number, total, residue, lane, source, cell, inside, out, step, switch_step,
                WINDOW, PAIRED, LIFTED, TELLS, WIDE,
            )  # fmt: skip
    if SIGNED:
        total = tl.where(total < 0, 0.0, total)
    return total


@triton.jit
def write(
    residue,
    total,
    neighbour,
    result,
    position,
    inside,
    size,
    channels,
    WINDOW: tl.constexpr,
    LAST: tl.constexpr,
    PAIRED: tl.constexpr,
):
    """Write one position of the cells of a tile, or a pair of neighbours."""
    S: tl.constexpr = WINDOW[1]
    WAYS: tl.constexpr = 1 if PAIRED else S[2]
    n, c, d, h, w = position
    d = d * S[0] + residue // (S[1] * WAYS)
    h = h * S[1] + residue // WAYS % S[1]
    w = w * S[2] + residue % WAYS
    if LAST:
        offset = (((n * size[0] + d) * size[1] + h) * size[2] + w) * channels + c
    else:
        offset = (((n * channels + c) * size[0] + d) * size[1] + h) * size[2] + w
    inside = inside & (d < size[0]) & (h < size[1]) & (w < size[2])
    if PAIRED:
        store_pair(result + offset, total, neighbour, inside)
    else:
        tl.store(result + offset, total.to(result.dtype.element_ty), inside)


@triton.jit
def fill(
    source,
    result,
    position,
    inside,
    size,
    out,
    channels,
    step,
    switch_step,
    WINDOW: tl.constexpr,
    TURNS: tl.constexpr,
    HELD: tl.constexpr,
    LAST: tl.constexpr,
    UNROLLED: tl.constexpr,
    PAIRED: tl.constexpr,
    LIFTED: tl.constexpr,
    TELLS: tl.constexpr,
    SIGNED: tl.constexpr,
    WIDE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Fill all positions of the cells of a tile."""
    _n, _c, d, h, w = position
    if UNROLLED:
        for turn in tl.static_range(TURNS // HELD):
            totals = ()
            for held in tl.static_range(HELD):
                for lane in tl.static_range(2 if PAIRED else 1):
                    total = gather(
                        turn * HELD + held, lane, source, (d, h, w), inside, out,
                        step, switch_step,
                        WINDOW, UNROLLED, PAIRED, LIFTED, TELLS, SIGNED, WIDE, ROWS, COLUMNS,
                    )  # fmt: skip
                    totals = totals + (total,)  # type: ignore[assignment]  # noqa: RUF005
            for held in tl.static_range(HELD):
                write(
                    turn * HELD + held, totals[held * 2 if PAIRED else held],
                    totals[held * 2 + 1 if PAIRED else held], result, position,
                    inside, size, channels, WINDOW, LAST, PAIRED,
                )  # fmt: skip
    else:
        for residue in range(TURNS):
            total = gather(
                residue, 0, source, (d, h, w), inside, out, step, switch_step,
                WINDOW, UNROLLED, PAIRED, LIFTED, TELLS, SIGNED, WIDE, ROWS, COLUMNS,
            )  # fmt: skip
            write(
                residue, total, total, result, position, inside, size, channels,
                WINDOW, LAST, PAIRED,
            )  # fmt: skip


@triton.jit(do_not_specialize=[*COUNTED, "D", "H", "W", "OD", "OH", "OW"])
def unpool_kernel(
    grad,
    switches,
    result,
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
    OD,
    OH,
    OW,
    step,
    switch_step,
    WINDOW: tl.constexpr,
    TURNS: tl.constexpr,
    HELD: tl.constexpr,
    DEEP: tl.constexpr,
    LAST: tl.constexpr,
    JOINED: tl.constexpr,
    UNIT: tl.constexpr,
    UNROLLED: tl.constexpr,
    PAIRED: tl.constexpr,
    LIFTED: tl.constexpr,
    TELLS: tl.constexpr,
    SIGNED: tl.constexpr,
    WIDE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    columns = units * UNIT if LAST else 1
    channels = columns if LAST else p3
    first, row, column, inside = tile_of_volume(rows, columns, ROWS, COLUMNS, WIDE)
    counted = (p0, f0, s0, p1, f1, s1, p2, f2, s2, p3, f3, s3)
    n, channel, d, h, w = position_of(first, row, column, counted, DEEP, LAST, JOINED, WIDE)
    position = (n, channel, d, h, w)
    step, switch_step = steps_of(step, WIDE), steps_of(switch_step, WIDE)
    source = (grad + offset_of(position, step), switches + offset_of(position, switch_step))
    fill(
        source, result, position, inside, (D, H, W), (OD, OH, OW), channels, step, switch_step,
        WINDOW, TURNS, HELD, LAST, UNROLLED, PAIRED, LIFTED, TELLS, SIGNED, WIDE, ROWS, COLUMNS,
    )  # fmt: skip


class Settings(NamedTuple):
    """What is sent back.

    Attributes:
        only_open: whether windows whose maximum is not positive send back zero.
        clamped: whether negative results become zero.
    """

    only_open: bool
    clamped: bool


def unpool(
    grad: Tensor,
    switches: Tensor,
    input_shape: torch.Size,
    window: Window,
    settings: Settings,
) -> Tensor:
    """Return the gradients that the switches send back."""
    plan = _plan(
        (grad.shape, grad.stride(), grad.dtype),
        (switches.shape, switches.stride(), switches.dtype),
        input_shape,
        window,
        settings,
    )
    result = plan.blank.like(grad, grad.dtype)
    if plan.launch is not None:
        plan.launch(grad, switches, result)
    return result


Kind: TypeAlias = tuple[torch.Size, tuple[int, ...], torch.dtype]


@lru_cache(maxsize=PLANS)
def _plan(
    grad: Kind, switches: Kind, shape: torch.Size, window: Window, settings: Settings
) -> VolumePlan:
    dims = len(window.extent)
    source, chosen = (as_volume(pretended(*kind), dims) for kind in (grad, switches))
    last = is_channels_last(chosen)
    result = blank_volume(source, volume_shape(shape, dims), last, source.dtype)
    launch = _launch(source, chosen, result, window, settings) if result.numel() else None
    return VolumePlan(Blank.of(result, shape), launch)


def _launch(
    grad: Tensor, switches: Tensor, result: Tensor, window: Window, settings: Settings
) -> Launch:
    """Return the launch for volumes like these; the result is newly allocated, hence aligned."""
    frame = Frame.of(window)
    last = is_channels_last(result)
    cells = [-(-size // step) for size, step in zip(result.shape[2:], frame.stride, strict=True)]
    first, count = frame.windows_over_a_cell()
    is_unrolled = prod(frame.stride) * prod(count) <= UNROLLED_TURNS
    is_paired = is_unrolled and not last and frame.stride[2] == 2 and are_paired(result)
    residues = prod(frame.stride) // (2 if is_paired else 1)
    shape = torch.Size([*result.shape[:2], *cells])
    tile = Tiles.over(shape, grad.itemsize, last, is_wide(grad, switches, result))
    return Launch(
        unpool_kernel,
        tile.grid,
        (
            *tile.counted,
            *result.shape[2:],
            *grad.shape[2:],
            grad.stride(),
            switches.stride(),
        ),
        WINDOW=(frame.extent, frame.stride, frame.padding, frame.dilation, first, count),
        TURNS=residues,
        HELD=residues if residues <= MOST_HELD else 1,
        LAST=last,
        JOINED=are_joined(grad, switches),
        UNROLLED=is_unrolled,
        PAIRED=is_paired,
        LIFTED=OPEN if settings.only_open else 0,
        TELLS=window.tells_open,
        SIGNED=settings.clamped,
        **tile.options,
    )

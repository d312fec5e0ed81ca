"""Max-pool backward from switches: each input element gathers the gradients that it gets.

Tiles, tuples and steps are those of :mod:`torchattr.kernels.triton.max_pool`. A program fills a
tile of *cells*, which hold as many input elements as the strides say. All elements at the same
position of their cell are covered by the same windows, at the same positions of these. So what
would be a search for one element is known for the whole tile when the kernel is compiled.

`WINDOW` holds `K`, `S`, `P` and `L`, then the first window over a cell and their number, in each
dimension. Where cells are two wide along a row, both halves are gathered, laid side by side and
written at once, as whole rows of the result (`SPLIT` is 2).
"""

from __future__ import annotations

from math import gcd, prod

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchattr.kernels.layout import OPEN, Window
from torchattr.kernels.triton.indexing import UNIT, is_wide, tile_of
from torchattr.kernels.triton.tuning import UNROLLED_TURNS
from torchattr.kernels.triton.volumes import Frame, Tiles, is_channels_last, position_of


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
    SPLIT: tl.constexpr,
    LIFTED: tl.constexpr,
    TELLS: tl.constexpr,
):
    """Add what one of the windows over each element of a tile sends to it."""
    K: tl.constexpr = WINDOW[0]
    S: tl.constexpr = WINDOW[1]
    P: tl.constexpr = WINDOW[2]
    L: tl.constexpr = WINDOW[3]
    FIRST: tl.constexpr = WINDOW[4]
    COUNT: tl.constexpr = WINDOW[5]
    WAYS: tl.constexpr = S[2] // SPLIT
    md = FIRST[0] + number // (COUNT[1] * COUNT[2])
    mh = FIRST[1] + number // COUNT[2] % COUNT[1]
    mw = FIRST[2] + number % COUNT[2]
    # Distance of the element from the window's corner.
    away_d = residue // (S[1] * WAYS) + P[0] - S[0] * md
    away_h = residue // WAYS % S[1] + P[1] - S[1] * mh
    away_w = residue % WAYS + lane + P[2] - S[2] * mw
    target = (away_d // L[0] * K[1] + away_h // L[1]) * K[2] + away_w // L[2] + LIFTED
    # The window that it is an element of: none, if it falls between those of a dilated one.
    d = tl.where(covers(away_d, K[0], L[0]), cell[0] + md, -1)
    h = tl.where(covers(away_h, K[1], L[1]), cell[1] + mh, -1)
    w = tl.where(covers(away_w, K[2], L[2]), cell[2] + mw, -1)
    inside = inside & (d >= 0) & (d < out[0]) & (h >= 0) & (h < out[1]) & (w >= 0) & (w < out[2])
    there = d * step[2] + h * step[3] + w * step[4]
    value = tl.load(source[0] + there, inside, other=0).to(tl.float32)
    there = d * switch_step[2] + h * switch_step[3] + w * switch_step[4]
    switch = tl.load(source[1] + there, inside, other=0).to(tl.int32)
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
    SPLIT: tl.constexpr,
    LIFTED: tl.constexpr,
    TELLS: tl.constexpr,
    SIGNED: tl.constexpr,
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
                WINDOW, SPLIT, LIFTED, TELLS,
            )  # fmt: skip
    else:
        for number in range(WINDOWS):
            total = add_window(
                number, total, residue, lane, source, cell, inside, out, step, switch_step,
                WINDOW, SPLIT, LIFTED, TELLS,
            )  # fmt: skip
    if SIGNED:
        total = tl.where(total < 0, 0.0, total)
    return total


@triton.jit
def fill(
    residue,
    source,
    result,
    start,
    row_inside,
    inside,
    units,
    position,
    size,
    out,
    channels,
    step,
    switch_step,
    WINDOW: tl.constexpr,
    LAST: tl.constexpr,
    UNIT: tl.constexpr,
    UNROLLED: tl.constexpr,
    SPLIT: tl.constexpr,
    LIFTED: tl.constexpr,
    TELLS: tl.constexpr,
    SIGNED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Fill one position of the cells of a tile, or `SPLIT` neighbours."""
    S: tl.constexpr = WINDOW[1]
    WAYS: tl.constexpr = S[2] // SPLIT
    n, c, d, h, w = position
    total = gather(
        residue, 0, source, (d, h, w), inside, out, step, switch_step,
        WINDOW, UNROLLED, SPLIT, LIFTED, TELLS, SIGNED, ROWS, COLUMNS,
    )  # fmt: skip
    if SPLIT == 2:
        right = gather(
            residue, 1, source, (d, h, w), inside, out, step, switch_step,
            WINDOW, UNROLLED, SPLIT, LIFTED, TELLS, SIGNED, ROWS, COLUMNS,
        )  # fmt: skip
        total = tl.interleave(total, right)
    d = d * S[0] + residue // (S[1] * WAYS)
    h = h * S[1] + residue // WAYS % S[1]
    if LAST:
        w = w * S[2] + residue % WAYS
        offset = (((n * size[0] + d) * size[1] + h) * size[2] + w) * (units * UNIT) + c
        there = inside & (w < size[2])
    else:
        w = (start * SPLIT + tl.arange(0, COLUMNS * SPLIT)[None, :]) * WAYS + residue % WAYS
        offset = (((n * channels + c) * size[0] + d) * size[1] + h) * (units * UNIT) + w
        there = row_inside & (w < units * UNIT)
    there = there & (d < size[0]) & (h < size[1])
    tl.store(result + offset, total.to(result.dtype.element_ty), there)


@triton.jit(
    do_not_specialize=[
        "rows",
        "length",
        "units",
        "a",
        "b",
        "c",
        "D",
        "H",
        "W",
        "OD",
        "OH",
        "OW",
    ]
)
def unpool_kernel(
    grad,
    switches,
    result,
    rows,
    length,
    units,
    a,
    b,
    c,
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
    LAST: tl.constexpr,
    UNIT: tl.constexpr,
    UNROLLED: tl.constexpr,
    SPLIT: tl.constexpr,
    LIFTED: tl.constexpr,
    TELLS: tl.constexpr,
    SIGNED: tl.constexpr,
    WIDE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    columns = units * UNIT if LAST else length
    row, start, column, inside = tile_of(rows, columns, ROWS, COLUMNS, WIDE)
    n, channel, d, h, w = position_of(row, column, (a, b, c), LAST, WIDE)
    source = (
        grad + (n * step[0] + channel * step[1]),
        switches + (n * switch_step[0] + channel * switch_step[1]),
    )
    if UNROLLED:
        for residue in tl.static_range(TURNS):
            fill(
                residue, source, result, start, row < rows, inside, units,
                (n, channel, d, h, w), (D, H, W), (OD, OH, OW), c, step, switch_step,
                WINDOW, LAST, UNIT, UNROLLED, SPLIT, LIFTED, TELLS, SIGNED, ROWS, COLUMNS,
            )  # fmt: skip
    else:
        for residue in range(TURNS):
            fill(
                residue, source, result, start, row < rows, inside, units,
                (n, channel, d, h, w), (D, H, W), (OD, OH, OW), c, step, switch_step,
                WINDOW, LAST, UNIT, UNROLLED, SPLIT, LIFTED, TELLS, SIGNED, ROWS, COLUMNS,
            )  # fmt: skip


def unpool(
    grad: Tensor,
    switches: Tensor,
    result: Tensor,
    window: Window,
    only_open: bool = False,
    clamped: bool = False,
) -> None:
    """Write into the volume `result` the gradients that the switches send back.

    Args:
        only_open: whether windows whose maximum is not positive send back zero.
        clamped: whether negative results become zero.
    """
    frame = Frame.of(window)
    last = is_channels_last(result)
    cells = [-(-size // step) for size, step in zip(result.shape[2:], frame.stride, strict=True)]
    split = 2 if frame.stride[2] == 2 and not last else 1
    residues = prod(frame.stride) // split
    first, count = frame.windows_over_a_cell()
    shape = torch.Size([*result.shape[:2], *cells])
    unrolled = residues * prod(count) <= UNROLLED_TURNS
    tile = Tiles.over(shape, last, is_wide(grad, switches, result))
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
        SIGNED=clamped,
        **tile.options,
    )

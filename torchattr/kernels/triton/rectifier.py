"""ReLUs with their masks, forward and backward, with and without a batch-norm before them.

Tensors are runs in memory order. A program works on `BLOCK` elements, in groups of the eight that
share a byte of the mask. Only the last program checks where the run ends: all others load and store
without a mask, 16 bytes at once for any length.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import torch
import triton
import triton.language as tl
import triton.testing
from torch import Tensor

from torchattr.kernels.layout import mask_bytes
from torchattr.kernels.triton.indexing import divide, divisor
from torchattr.kernels.triton.launch import PLANS, Launch
from torchattr.kernels.triton.tuning import (
    CHOICES,
    LARGE,
    Tile,
    fastest,
    is_worth_measuring,
)

# Runs with channels are processed in chunks whose elements 32 bits can number.
CHUNK = 2**30


@dataclass(frozen=True)
class Channels:
    """Per-channel values: element `i` of a run is of channel `i // step % len(scale)`."""

    step: int
    scale: Tensor
    shift: Tensor | None = None

    @property
    def period(self) -> tuple[int, int]:
        """The number of consecutive elements of a channel, and of channels."""
        return self.step, len(self.scale)


@triton.jit
def channel_of(offset, channels, step_factor, step_shift, factor, shift):
    """Return the channel of an element from its offset after the start of a channel 0."""
    number = divide(offset, step_factor, step_shift)
    return number - divide(number, factor, shift) * channels


@triton.jit
def _rectify_block(
    x,
    y,
    mask,
    scale,
    shift,
    upper,
    left,
    channel,
    LAST: tl.constexpr,
    BLOCK: tl.constexpr,
    NORMED: tl.constexpr,
    KEPT: tl.constexpr,
    BOUNDED: tl.constexpr,
):
    groups = tl.arange(0, BLOCK // 8)
    bits = tl.arange(0, 8)[None, :]
    offset = groups[:, None] * 8 + bits
    inside = offset < left if LAST else None
    value = tl.load(x + offset, inside, other=0 if LAST else None).to(tl.float32)
    if NORMED:
        value = value * tl.load(scale + channel, inside) + tl.load(shift + channel, inside)
    if KEPT:
        # Not `maximum`: NaN stays NaN.
        value = tl.where(value <= 0, 0.0, value)
        if BOUNDED:
            value = tl.where(value >= upper, upper, value)
        kept = value.to(y.dtype.element_ty)
        tl.store(y + offset, kept, inside)
        value = kept.to(tl.float32)
    passed = value > 0
    if BOUNDED:
        passed = passed & (value < upper)
    if LAST:
        passed = passed & inside
    packed = tl.sum(passed.to(tl.int32) << bits, axis=1).to(tl.uint8)
    tl.store(mask + groups, packed, groups * 8 < left if LAST else None)


@triton.jit(do_not_specialize=["n", "upper", "first", "channels", "sf", "ss", "cf", "cs"])
def rectify_kernel(
    x,
    y,
    mask,
    scale,
    shift,
    n,
    upper,
    first,
    channels,
    sf,
    ss,
    cf,
    cs,
    BLOCK: tl.constexpr,
    NORMED: tl.constexpr,
    KEPT: tl.constexpr,
    BOUNDED: tl.constexpr,
):
    # The start is the only number that can need 64 bits, and it is one for the whole program.
    start = tl.program_id(0).to(tl.int64) * BLOCK
    bytes_before = tl.program_id(0).to(tl.int64) * (BLOCK // 8)
    if NORMED:
        offset = tl.arange(0, BLOCK // 8)[:, None] * 8 + tl.arange(0, 8)[None, :]
        channel = channel_of(first + start.to(tl.int32) + offset, channels, sf, ss, cf, cs)
    else:
        channel = 0
    x += start
    y += start
    mask += bytes_before
    left = n - start
    if left >= BLOCK:
        _rectify_block(
            x, y, mask, scale, shift, upper, left, channel, False, BLOCK, NORMED, KEPT, BOUNDED
        )
    else:
        _rectify_block(
            x, y, mask, scale, shift, upper, left, channel, True, BLOCK, NORMED, KEPT, BOUNDED
        )


@triton.jit
def _gate_block(
    grad,
    result,
    mask,
    scale,
    left,
    channel,
    LAST: tl.constexpr,
    BLOCK: tl.constexpr,
    MASKED: tl.constexpr,
    SIGNED: tl.constexpr,
    SCALED: tl.constexpr,
):
    groups = tl.arange(0, BLOCK // 8)
    bits = tl.arange(0, 8)[None, :]
    offset = groups[:, None] * 8 + bits
    inside = offset < left if LAST else None
    value = tl.load(grad + offset, inside, other=0 if LAST else None).to(tl.float32)
    if SIGNED:
        value = tl.where(value < 0, 0.0, value)
    if MASKED:
        packed = tl.load(mask + groups, groups * 8 < left if LAST else None).to(tl.int32)
        # Selected, not multiplied: a closed gate gives zero for an infinite gradient, too.
        value = tl.where((packed[:, None] >> bits) & 1 != 0, value, 0.0)
    if SCALED:
        value = value * tl.load(scale + channel, inside)
    tl.store(result + offset, value.to(result.dtype.element_ty), inside)


@triton.jit(do_not_specialize=["n", "first", "channels", "sf", "ss", "cf", "cs"])
def gate_kernel(
    grad,
    result,
    mask,
    scale,
    n,
    first,
    channels,
    sf,
    ss,
    cf,
    cs,
    BLOCK: tl.constexpr,
    MASKED: tl.constexpr,
    SIGNED: tl.constexpr,
    SCALED: tl.constexpr,
):
    start = tl.program_id(0).to(tl.int64) * BLOCK
    bytes_before = tl.program_id(0).to(tl.int64) * (BLOCK // 8)
    if SCALED:
        offset = tl.arange(0, BLOCK // 8)[:, None] * 8 + tl.arange(0, 8)[None, :]
        channel = channel_of(first + start.to(tl.int32) + offset, channels, sf, ss, cf, cs)
    else:
        channel = 0
    grad += start
    result += start
    mask += bytes_before
    left = n - start
    if left >= BLOCK:
        _gate_block(grad, result, mask, scale, left, channel, False, BLOCK, MASKED, SIGNED, SCALED)
    else:
        _gate_block(grad, result, mask, scale, left, channel, True, BLOCK, MASKED, SIGNED, SCALED)


def rectify(
    x: Tensor,
    y: Tensor | None,
    mask: Tensor,
    upper: float | None,
    normed: Channels | None = None,
    tile: Tile | None = None,
) -> None:
    """Write the ReLU of `x` into `y` (which may be `x`), and where it was open into `mask`.

    Without `y`, `x` is the output of a ReLU, and only its mask is written. Both are runs, or any
    tensors that are runs in the same memory order.
    """
    tile = tile or tile_for(x.dtype, x.device, is_worth_measuring(x))
    period = normed and normed.period
    kept = y is not None
    for chunk, launch in _rectifications(x.numel(), x.dtype, upper, period, kept, tile):
        run = chunk.of(x)
        launch(
            run,
            run if y is None else chunk.of(y),
            chunk.bits_of(mask),
            normed.scale if normed else run,
            normed.shift if normed and normed.shift is not None else run,
        )


@lru_cache(maxsize=PLANS)
def _rectifications(
    elements: int,
    dtype: torch.dtype,
    upper: float | None,
    period: tuple[int, int] | None,
    kept: bool,
    tile: Tile,
) -> list[tuple[Chunk, Launch]]:
    """Return the launches for a run of so many elements."""
    bound = _rounded(upper, dtype)
    flags = {"NORMED": period is not None, "KEPT": kept, "BOUNDED": upper is not None}
    launches = []
    for chunk in _chunks(elements, period):
        numbers = (chunk.elements, bound, *chunk.channels)
        grid = tile.grid(chunk.elements)
        launches.append((chunk, Launch(rectify_kernel, grid, numbers, **flags, **tile.options)))
    return launches


def gate(
    grad: Tensor,
    result: Tensor,
    mask: Tensor | None,
    clamped: bool,
    scaled: Channels | None = None,
) -> None:
    """Write into `result` (which may be `grad`) what the gate of mask and sign lets pass.

    Both are runs, or any tensors that are runs in the same memory order.
    """
    tile = tile_for(grad.dtype, grad.device, is_worth_measuring(grad))
    period = scaled and scaled.period
    for chunk, launch in _gatings(grad.numel(), mask is not None, clamped, period, tile):
        run = chunk.of(grad)
        bits = run if mask is None else chunk.bits_of(mask)
        launch(run, chunk.of(result), bits, scaled.scale if scaled else run)


@lru_cache(maxsize=PLANS)
def _gatings(
    elements: int, masked: bool, clamped: bool, period: tuple[int, int] | None, tile: Tile
) -> list[tuple[Chunk, Launch]]:
    """Return the launches for a run of so many elements."""
    flags = {"MASKED": masked, "SIGNED": clamped, "SCALED": period is not None}
    launches = []
    for chunk in _chunks(elements, period):
        numbers = (chunk.elements, *chunk.channels)
        grid = tile.grid(chunk.elements)
        launches.append((chunk, Launch(gate_kernel, grid, numbers, **flags, **tile.options)))
    return launches


@cache
def tile_for(dtype: torch.dtype, device: torch.device, measured: bool) -> Tile:
    """Return the tile for large runs, measured once on scratch memory, or for all others."""
    if not measured:
        return CHOICES[0]

    def milliseconds(tile: Tile) -> float:
        x = torch.zeros(LARGE, dtype=dtype, device=device)
        y, mask = torch.empty_like(x), x.new_empty(LARGE // 8, dtype=torch.uint8)
        return triton.testing.do_bench(lambda: rectify(x, y, mask, None, tile=tile), 5, 20)

    return fastest(milliseconds, CHOICES)


@dataclass(frozen=True)
class Chunk:
    """A part of a run and of its mask, and how its elements find their channel."""

    start: int
    elements: int
    is_whole: bool
    channels: tuple[int, ...]

    def of(self, tensor: Tensor) -> Tensor:
        """Return this part of a tensor that is a run in its memory order."""
        return tensor if self.is_whole else _part(tensor, self.start, self.elements)

    def bits_of(self, mask: Tensor) -> Tensor:
        """Return this part of a mask."""
        return mask if self.is_whole else _part(mask, self.start // 8, mask_bytes(self.elements))


def _part(tensor: Tensor, start: int, elements: int) -> Tensor:
    return tensor.as_strided((elements,), (1,), tensor.storage_offset() + start)


def _chunks(elements: int, period: tuple[int, int] | None) -> list[Chunk]:
    if period is None:
        return [Chunk(0, elements, True, (0,) * 6)]
    step, count = period
    chunks = []
    for start in range(0, elements, CHUNK):
        size = min(CHUNK, elements - start)
        number, rest = divmod(start, step)
        first = number % count * step + rest
        parts = (first, count, *divisor(step), *divisor(count))
        chunks.append(Chunk(start, size, size == elements, parts))
    return chunks


def serves(elements: int, period: int) -> bool:
    """Whether 32 bits can number the channels, which repeat after `period` elements."""
    return elements <= CHUNK or period <= CHUNK


def _rounded(upper: float | None, dtype: torch.dtype) -> float:
    """Return the bound in the precision of the values that it is compared with."""
    if upper is None or not dtype.is_floating_point:
        return upper or 0.0
    return torch.tensor(upper, dtype=dtype).item()

"""Index arithmetic of the kernels: tiles, division by multiplication, and the need for 64 bits."""

from __future__ import annotations

from functools import cache

import triton
import triton.language as tl
from torch import Tensor

LARGEST = 2**31 - 1

# Rows whose length is a multiple of this start where 16-byte loads may.
UNIT = 16


@cache
def divisor(number: int) -> tuple[int, int]:
    """Return the factor and the shift by which :func:`divide` divides by `number`.

    A division by multiplication, exact for dividends below 2^31 (Granlund and Montgomery 1994).
    """
    shift = (number - 1).bit_length()
    factor = ((1 << 32) * ((1 << shift) - number)) // number + 1
    # As a signed number, so that a kernel sees one type for every factor.
    return factor - (1 << 32) if factor > LARGEST else factor, shift


@triton.jit
def divide(dividend, factor, shift):
    """Divide by the number passed to :func:`divisor`, in three instructions instead of twenty."""
    plain = dividend.to(tl.uint32)
    high = tl.umulhi(plain, factor.to(tl.uint32))
    return ((high + plain) >> shift.to(tl.uint32)).to(tl.int32)


@triton.jit
def is_below(index, size, WIDE: tl.constexpr):
    """Whether indices are in `[0, size)`, in one comparison."""
    unsigned: tl.constexpr = tl.uint64 if WIDE else tl.uint32
    return index.to(unsigned) < size.to(unsigned)


@triton.jit
def tile_of(rows, length, ROWS: tl.constexpr, COLUMNS: tl.constexpr, WIDE: tl.constexpr):
    """Return this program's rows, first column and columns, and which of its elements exist."""
    blocks = tl.cdiv(length, COLUMNS)
    first = tl.program_id(0) // blocks
    if WIDE:
        first = first.to(tl.int64)
    row = first * ROWS + tl.arange(0, ROWS)[:, None]
    start = tl.program_id(0) % blocks * COLUMNS
    column = start + tl.arange(0, COLUMNS)[None, :]
    return row, start, column, (row < rows) & (column < length)


def is_wide(*tensors: Tensor) -> bool:
    """Whether the offset of any element of these tensors, or their number, needs more than 32 bits.

    Room for two tiles is left, for indices that a kernel computes and masks off.
    """
    room = LARGEST - 2**16
    return any(max(tensor.numel(), _reach(tensor)) > room for tensor in tensors)


def _reach(tensor: Tensor) -> int:
    """Return the distance in memory between the first and the last element."""
    return sum(
        (size - 1) * abs(step)
        for size, step in zip(tensor.shape, tensor.stride(), strict=True)
        if size
    )

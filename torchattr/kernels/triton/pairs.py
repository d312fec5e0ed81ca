"""Two neighbours in memory as one integer, which one instruction loads or stores.

Where windows or cells are two elements apart, neighbouring threads would otherwise access every
other element, and each access would move twice the memory that it needs.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

# Two times minus infinity in float32, bfloat16 and float16.
LOWEST_WORDS = tl.constexpr(0xFF800000_FF800000 - 2**64)
LOWEST_BFLOAT16 = tl.constexpr(0xFF80FF80 - 2**32)
LOWEST_FLOAT16 = tl.constexpr(0xFC00FC00 - 2**32)


def are_paired(volume: Tensor) -> bool:
    """Whether every even element of each row and its successor are one pair of memory.

    Pairs are aligned if the first one is.
    """
    *steps, step = volume.stride()
    return step == 1 and not any(size % 2 for size in (volume.shape[-1], *steps))


def is_pair_aligned(tensor: Tensor) -> bool:
    """Whether one instruction can load the first two elements."""
    return tensor.data_ptr() % (2 * tensor.itemsize) == 0


@triton.jit
def load_pair(pointer, inside):
    """Load two elements each, or minus infinity."""
    if pointer.dtype.element_ty == tl.float32:
        pair = tl.load(pointer.to(tl.pointer_type(tl.int64)), inside, other=LOWEST_WORDS)
    elif pointer.dtype.element_ty == tl.bfloat16:
        pair = tl.load(pointer.to(tl.pointer_type(tl.int32)), inside, other=LOWEST_BFLOAT16)
    else:
        pair = tl.load(pointer.to(tl.pointer_type(tl.int32)), inside, other=LOWEST_FLOAT16)
    return pair


@triton.jit
def half_of(pair, lane: tl.constexpr, dtype: tl.constexpr):
    """Return the first or the second element of pairs as float32."""
    if dtype == tl.float32:
        half = (pair >> (32 * lane)).to(tl.int32).to(tl.float32, bitcast=True)
    else:
        half = (pair >> (16 * lane)).to(tl.int16).to(dtype, bitcast=True).to(tl.float32)
    return half


@triton.jit
def store_pair(pointer, first, second, inside):
    """Store two elements each."""
    dtype: tl.constexpr = pointer.dtype.element_ty
    if dtype == tl.float32:
        low = first.to(tl.int32, bitcast=True).to(tl.uint32, bitcast=True).to(tl.int64)
        high = second.to(tl.int32, bitcast=True).to(tl.int64)
        tl.store(pointer.to(tl.pointer_type(tl.int64)), low | (high << 32), inside)
    else:
        low = first.to(dtype).to(tl.uint16, bitcast=True).to(tl.int32)
        high = second.to(dtype).to(tl.int16, bitcast=True).to(tl.int32)
        tl.store(pointer.to(tl.pointer_type(tl.int32)), low | (high << 16), inside)

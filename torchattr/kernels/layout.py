"""The layout that all backends share: element order, mask bits, switch bytes.

Order. A tensor is read in *memory order*: its dimensions from the slowest to the fastest, so that a
channels-last tensor is one contiguous run without a copy. `order` is that permutation.

Mask. Element `i` in memory order is bit `i % 8` (least significant first) of byte `i // 8`. Unused
bits of the last byte are zero.

Switch. A max-pool window of extents `(k_0, k_1, ...)` numbers its places in row-major order; an
output's switch is the number of the place that won. Windows of up to 256 places take one byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import prod

import torch
from torch import Tensor

Order = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """A pooling window: extents, stride, padding and dilation, one entry per spatial dimension."""

    extent: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    ceil_mode: bool = False

    @property
    def places(self) -> int:
        return prod(self.extent)

    @property
    def switch_dtype(self) -> torch.dtype:
        return torch.uint8 if self.places <= 256 else torch.int32


def order_of(tensor: Tensor) -> Order:
    """Give the dimensions of `tensor` from the slowest to the fastest in memory."""
    if tensor.is_contiguous():
        return _plain(tensor.dim())
    return tuple(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))


def in_order(tensor: Tensor, order: Order) -> Tensor:
    """Give the elements of `tensor` as one contiguous run in `order`; copies only if it must."""
    if order == _plain(len(order)):
        return tensor.reshape(-1)
    return tensor.permute(order).contiguous().reshape(-1)


def from_order(run: Tensor, shape: Sequence[int], order: Order) -> Tensor:
    """Undo :func:`in_order`."""
    if order == _plain(len(order)):
        return run.reshape(shape)
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return run.reshape([shape[d] for d in order]).permute(inverse)


def mask_bytes(elements: int) -> int:
    """Give the length of the mask of so many elements."""
    return (elements + 7) // 8


@cache
def _plain(dims: int) -> Order:
    return tuple(range(dims))

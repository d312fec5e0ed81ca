"""The memory layout that all backends share: element order, mask bits, switch bytes.

Order. A tensor is read in *memory order*: its dimensions from the slowest to the fastest, so that a
channels-last tensor is one contiguous run without a copy. `order` is that permutation.

Mask. Element `i` in memory order is bit `i % 8` (least significant first) of byte `i // 8`. Unused
bits of the last byte are zero.

Switch. A max-pool window of extents `(k_0, k_1, ...)` numbers its elements in row-major order; an
output's switch is the number of the element that won. Windows of up to 256 elements take one byte.
Where these leave the top bit of the byte free (windows of up to 128), it is set if the maximum is
positive: *open*. So the gate of a ReLU before the pool is known at every winner. Switches have the
memory order of the pool's output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Order = tuple[int, ...]

OPEN = 0x80
"""The bit of a switch that is set if its maximum is positive."""


@dataclass(frozen=True)
class Window:
    """A pooling window: extents, stride, padding and dilation, one entry per spatial dimension."""

    extent: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    ceil_mode: bool = False

    @property
    def elements(self) -> int:
        return prod(self.extent)

    @property
    def switch_dtype(self) -> torch.dtype:
        return torch.uint8 if self.elements <= 256 else torch.int32

    @property
    def overlaps(self) -> bool:
        """Whether two windows can share an element."""
        spans = (d * (k - 1) + 1 for k, d in zip(self.extent, self.dilation, strict=True))
        return any(span > s for span, s in zip(spans, self.stride, strict=True))

    @property
    def tells_open(self) -> bool:
        """Whether its switches hold the open bit."""
        return self.elements <= OPEN


def order_of(tensor: Tensor) -> Order:
    """Return the dimensions of `tensor` from the slowest to the fastest in memory."""
    if tensor.is_contiguous():
        return _plain(tensor.dim())
    return tuple(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))


class MemoryLayout(NamedTuple):
    """How memory holds a tensor: its order, and whether it is one run without gaps or overlaps."""

    order: Order
    is_run: bool


@lru_cache(maxsize=4096)
def layout_of(shape: tuple[int, ...], strides: tuple[int, ...]) -> MemoryLayout:
    """Return the layout of tensors with memory, not of ones whose sizes are symbols."""
    tensor = torch.empty_strided(shape, strides, device="meta")
    order = order_of(tensor)
    return MemoryLayout(order, tensor.permute(order).is_contiguous())


def in_order(tensor: Tensor, order: Order) -> Tensor:
    """Return the elements of `tensor` as one contiguous run in `order`; copies only if needed."""
    tensor = tensor.resolve_neg()
    if order == _plain(len(order)):
        return tensor.contiguous().reshape(-1)
    return tensor.permute(order).contiguous().reshape(-1)


def from_order(run: Tensor, shape: Sequence[int], order: Order) -> Tensor:
    """Undo :func:`in_order`."""
    if order == _plain(len(order)):
        return run.reshape(shape)
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return run.reshape([shape[d] for d in order]).permute(inverse)


def is_materialised(tensor: Tensor) -> bool:
    """Whether memory holds the tensor's values; lazily negated views hold others."""
    return not tensor.is_neg()


def lies_in(tensor: Tensor, order: Order) -> bool:
    """Whether the tensor is one run of memory in `order`, without gaps or overlaps."""
    run = tensor if order == _plain(len(order)) else tensor.permute(order)
    return run.is_contiguous() and is_materialised(tensor)


def is_dense(tensor: Tensor) -> bool:
    """Whether the tensor is one run of memory without gaps or overlaps, in any order."""
    if not is_materialised(tensor):
        return False
    return tensor.is_contiguous() or layout_of(tensor.shape, tensor.stride()).is_run


def empty_in(
    order: Order, shape: Sequence[int], like: Tensor, dtype: torch.dtype | None = None
) -> Tensor:
    """Allocate a tensor of a shape in memory order `order`, on the device of `like`; not a view."""
    strides, step = [0] * len(shape), 1
    for d in reversed(order):
        strides[d], step = step, step * max(1, shape[d])
    return torch.empty_strided(tuple(shape), strides, dtype=dtype or like.dtype, device=like.device)


def prepare_buffers(tensor: Tensor, order: Order, overwrite: bool) -> tuple[Tensor, Tensor]:
    """Return a tensor in `order`, copied only if needed, and a buffer like it for the result.

    They are the same tensor if it may be overwritten or had to be copied. The buffer is not a view:
    autograd accumulates in place only into tensors that are not.
    """
    if not lies_in(tensor, order):
        tensor, overwrite = empty_in(order, tensor.shape, tensor).copy_(tensor), True
    return tensor, tensor if overwrite else torch.empty_like(tensor)


def channels_last(dims: int) -> Order:
    """Return the memory order of a channels-last tensor of so many dimensions."""
    return (0, *range(2, dims), 1)


def channel_step(shape: Sequence[int], order: Order) -> int:
    """Return the number of consecutive elements of a run that share a channel.

    Element `i` in memory order is of channel `i // step % shape[1]`.
    """
    return prod(shape[d] for d in order[order.index(1) + 1 :])


def mask_bytes(elements: int) -> int:
    """Return the length of the mask of so many elements."""
    return (elements + 7) // 8


def is_open(switches: Tensor) -> Tensor:
    """Return where a switch's maximum is positive."""
    return switches >= OPEN


def along_channels(values: Tensor, like: Tensor) -> Tensor:
    """Reshape per-channel values to broadcast over `like`, in its dtype."""
    return values.to(like.dtype).view(-1, *(1,) * (like.dim() - 2))


def rectified(x: Tensor, upper: float | None, overwrite: bool) -> Tensor:
    """Return `min(max(x, 0), upper)`; NaN stays NaN."""
    if upper is None:
        return x.relu_() if overwrite else x.relu()
    return x.clamp_(0, upper) if overwrite else x.clamp(0, upper)


def pooled_with_indices(x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """Return PyTorch's max-pool and the flat spatial index of each maximum."""
    settings = (window.extent, window.stride, window.padding, window.dilation, window.ceil_mode)
    pools = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
    return pools[len(window.extent) - 1](x, *settings, return_indices=True)


@lru_cache(maxsize=256)
def pooled_shape(shape: tuple[int, ...], window: Window) -> torch.Size:
    """Return the output shape of PyTorch's pool, which also refuses windows that do not fit."""
    return pooled_with_indices(torch.empty(shape, device="meta"), window)[0].shape


@cache
def _plain(dims: int) -> Order:
    return tuple(range(dims))

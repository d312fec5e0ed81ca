"""The layout that all backends share: element order, mask bits, switch bytes.

Order. A tensor is read in *memory order*: its dimensions from the slowest to the fastest, so that a
channels-last tensor is one contiguous run without a copy. `order` is that permutation.

Mask. Element `i` in memory order is bit `i % 8` (least significant first) of byte `i // 8`. Unused
bits of the last byte are zero.

Switch. A max-pool window of extents `(k_0, k_1, ...)` numbers its places in row-major order; an
output's switch is the number of the place that won. Windows of up to 256 places take one byte.
Where the places leave the top bit of the byte free (windows of up to 128), it says whether the
maximum is positive: *open*. What a rectifier before the pool did is then known at every winner.
Switches lie in memory like the pool's output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

Order = tuple[int, ...]

OPEN = 0x80
"""The bit of a switch that says that its maximum is positive."""


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

    @property
    def overlaps(self) -> bool:
        """Whether two windows can share a place."""
        spans = (d * (k - 1) + 1 for k, d in zip(self.extent, self.dilation, strict=True))
        return any(span > s for span, s in zip(spans, self.stride, strict=True))

    @property
    def tells_open(self) -> bool:
        """Whether its switches say if their maximum is positive."""
        return self.places <= OPEN


def order_of(tensor: Tensor) -> Order:
    """Give the dimensions of `tensor` from the slowest to the fastest in memory."""
    if tensor.is_contiguous():
        return _plain(tensor.dim())
    return tuple(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))


def in_order(tensor: Tensor, order: Order) -> Tensor:
    """Give the elements of `tensor` as one contiguous run in `order`; copies only if it must."""
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
    """Whether memory holds what the tensor says, which it does not for views that negate it."""
    return not tensor.is_neg()


def lies_in(tensor: Tensor, order: Order) -> bool:
    """Tell whether the tensor is one run of memory in `order`, without gaps or overlaps."""
    return tensor.permute(order).is_contiguous() and is_materialised(tensor)


def is_dense(tensor: Tensor) -> bool:
    """Tell whether the tensor is one run of memory without gaps or overlaps, in any order."""
    plain = tensor.is_contiguous() and is_materialised(tensor)
    return plain or lies_in(tensor, order_of(tensor))


def empty_in(
    order: Order, shape: Sequence[int], like: Tensor, dtype: torch.dtype | None = None
) -> Tensor:
    """Give memory for a tensor of a shape, laid out in `order`, beside another; it is no view."""
    strides, step = [0] * len(shape), 1
    for d in reversed(order):
        strides[d], step = step, step * max(1, shape[d])
    return torch.empty_strided(tuple(shape), strides, dtype=dtype or like.dtype, device=like.device)


def prepare_buffers(tensor: Tensor, order: Order, overwrite: bool) -> tuple[Tensor, Tensor]:
    """Give a tensor in `order`, copied only if it lies otherwise, and one like it to write into.

    Both are the same where it may be written over, or had to be copied. What is written into is
    no view of a run: autograd adds up in place only what is none.
    """
    if not lies_in(tensor, order):
        tensor, overwrite = empty_in(order, tensor.shape, tensor).copy_(tensor), True
    return tensor, tensor if overwrite else torch.empty_like(tensor)


def channels_last(dims: int) -> Order:
    """Give the order of a tensor of so many dimensions whose channels lie last."""
    return (0, *range(2, dims), 1)


def channel_step(shape: Sequence[int], order: Order) -> int:
    """Give how many elements of a run share a channel before the next one comes.

    Element `i` in memory order is of channel `i // step % shape[1]`.
    """
    return prod(shape[d] for d in order[order.index(1) + 1 :])


def mask_bytes(elements: int) -> int:
    """Give the length of the mask of so many elements."""
    return (elements + 7) // 8


def is_open(switches: Tensor) -> Tensor:
    """Give where the maximum that a switch belongs to is positive."""
    return switches >= OPEN


def along_channels(values: Tensor, like: Tensor) -> Tensor:
    """Shape one value a channel so that it broadcasts over `like`, in its dtype."""
    return values.to(like.dtype).view(-1, *(1,) * (like.dim() - 2))


def rectified(x: Tensor, upper: float | None, overwrite: bool) -> Tensor:
    """Give `min(max(x, 0), upper)`; NaN stays NaN."""
    if upper is None:
        return x.relu_() if overwrite else x.relu()
    return x.clamp_(0, upper) if overwrite else x.clamp(0, upper)


def pooled_with_indices(x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """Give PyTorch's max-pool and the flat index, in the picture, of each maximum."""
    settings = (window.extent, window.stride, window.padding, window.dilation, window.ceil_mode)
    pools = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
    return pools[len(window.extent) - 1](x, *settings, return_indices=True)


@lru_cache(maxsize=256)
def pooled_shape(shape: tuple[int, ...], window: Window) -> torch.Size:
    """Give the shape that PyTorch's pool gives, which also refuses windows that do not fit."""
    return pooled_with_indices(torch.empty(shape, device="meta"), window)[0].shape


@cache
def _plain(dims: int) -> Order:
    return tuple(range(dims))

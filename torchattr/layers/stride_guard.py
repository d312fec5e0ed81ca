"""Keeps PyTorch's own backward of a batch-norm right where strides are ambiguous.

A dimension of one element has any stride. Where a batch-norm's input has such a dimension, PyTorch
on CPUs can take its memory, or that of the gradient, for channels-last when it is not, and then
returns gradients in the wrong places. It does not if both have the strides of new tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from torchattr.core.torch_private import DisableTorchFunction


def is_ambiguous(shape: Sequence[int]) -> bool:
    """Whether tensors of a shape `(N, C, ...)` can be taken for channels-last by mistake."""
    batch, channels, *sizes = shape
    return len(sizes) > 1 and channels > 1 and 1 in (batch, *sizes) and batch * prod(sizes) > 1


@lru_cache(maxsize=1024)
def strides_of_new(shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Return the strides of new tensors, contiguous or with channels last.

    >>> strides_of_new((1, 6, 2, 2))
    ((24, 4, 2, 1), (24, 1, 12, 6))
    """
    last = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    return tuple(
        torch.empty(shape, device="meta", memory_format=order).stride()
        for order in (torch.contiguous_format, last)
    )


def guard_strides(node: Any) -> Any:
    """Copy gradients that reach a batch-norm's node in other strides than those of a new tensor.

    Returns:
        a handle whose `remove` undoes that.
    """
    shape = tuple(node._input_metadata[0].shape)
    return node.register_prehook(partial(_ordered, strides_of_new(shape)))


def _ordered(
    allowed: tuple[tuple[int, ...], ...], grads: tuple[Tensor | None, ...]
) -> tuple[Tensor | None, ...] | None:
    grad = grads[0]
    if grad is None:
        return None
    # Without modes: one that acts in a backward looks for the model's code.
    with DisableTorchFunction():
        if grad.stride() in allowed:
            return None
        return grad.clone(memory_format=torch.contiguous_format), *grads[1:]

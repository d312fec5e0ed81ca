"""The only place that turns memory into addresses for compiled code.

Compiled code checks no strides, types or bounds: it must receive one run of the elements that it
expects. Any other tensor is an error of the caller and is refused here before it is read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchattr.errors import BackendError
from torchattr.kernels.layout import is_dense, is_materialised

CPU = torch.device("cpu")


def run_of(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Return a tensor as one run of memory, converted to `dtype`; copies only if needed."""
    tensor = tensor.detach()
    if dtype in (None, tensor.dtype) and tensor.is_contiguous() and is_materialised(tensor):
        return tensor
    return tensor.to(dtype or tensor.dtype).resolve_neg().contiguous()


def address(
    tensor: Tensor,
    dtype: torch.dtype,
    elements: int,
    *,
    device: torch.device = CPU,
    any_order: bool = False,
) -> int:
    """Return the address of a tensor that is one run of memory.

    Args:
        tensor: the tensor.
        dtype: expected dtype.
        elements: expected number of elements.
        device: expected device.
        any_order: whether it may have any memory order, without gaps.

    Raises:
        BackendError: the tensor is not as expected.
    """
    if tensor.dtype is not dtype or tensor.numel() != elements or tensor.device != device:
        raise BackendError(
            f"a kernel expects {elements} elements of {dtype} on {device}, got {tensor.numel()} of"
            f" {tensor.dtype} on {tensor.device}"
        )
    is_run = tensor.is_contiguous() or (any_order and is_dense(tensor))
    if not (is_run and is_materialised(tensor)):
        raise BackendError(
            f"a kernel expects one run of memory, got shape {tuple(tensor.shape)} with strides"
            f" {tensor.stride()}"
        )
    return _inside(tensor, elements)


def checked_run(tensor: Tensor, elements: int) -> Tensor:
    """Return a tensor after a check that it is one run of so many elements.

    Raises:
        BackendError: it is not.
    """
    address(tensor, tensor.dtype, elements, device=tensor.device)
    return tensor


def strided_address(tensor: Tensor, device: torch.device) -> int:
    """Return the address of a tensor whose strides the kernel receives.

    Raises:
        BackendError: it is on another device, or its memory ends before its last element.
    """
    if tensor.device != device or not is_materialised(tensor):
        raise BackendError(
            f"a kernel expects a materialised tensor on {device}, got one on {tensor.device}"
        )
    reach = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return _inside(tensor, reach + 1 if tensor.numel() else 0)


def table_address(table: NDArray[Any], columns: int) -> int:
    """Return the address of a contiguous int64 table.

    Raises:
        BackendError: its dtype, layout or number of columns differs.
    """
    if table.dtype != np.int64 or not table.flags.c_contiguous or table.shape[1:] != (columns,):
        raise BackendError(
            f"a kernel expects a contiguous int64 table of {columns} columns, got {table.dtype} of"
            f" shape {table.shape}"
        )
    return int(table.ctypes.data)


def _inside(tensor: Tensor, elements: int) -> int:
    available = tensor.untyped_storage().nbytes() // tensor.itemsize - tensor.storage_offset()
    if available < elements:
        raise BackendError(f"a kernel expects {elements} elements, but memory holds {available}")
    return tensor.data_ptr()

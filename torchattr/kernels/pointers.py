"""The only way by which memory becomes an address that compiled code reads or writes.

Compiled code knows no strides, types or ends: what it is handed must be one run of the elements
that it expects. A tensor that is not is a fault of the caller, and is refused here before anything
is read.
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
    """Return a tensor as one run of memory, of another type if need be; copies only if it must."""
    return tensor.detach().to(dtype or tensor.dtype).resolve_neg().contiguous()


def address(
    tensor: Tensor,
    dtype: torch.dtype,
    elements: int,
    *,
    device: torch.device = CPU,
    any_order: bool = False,
) -> int:
    """Return where a tensor begins.

    Args:
        tensor: one run of memory.
        dtype: of what type.
        elements: how many.
        device: where it lies.
        any_order: whether its dimensions may lie in any order, without gaps.

    Raises:
        BackendError: it is anything else.
    """
    found = (tensor.dtype, tensor.device, tensor.numel())
    if found != (dtype, device, elements):
        raise BackendError(
            f"a kernel wants {elements} elements of {dtype} on {device}, and was given"
            f" {found[2]} of {found[0]} on {found[1]}"
        )
    lies_well = is_dense(tensor) if any_order else tensor.is_contiguous()
    if not (lies_well and is_materialised(tensor)):
        raise BackendError(
            f"a kernel wants one run of memory, and was given the shape {tuple(tensor.shape)} with"
            f" strides {tensor.stride()}"
        )
    return _inside(tensor, elements)


def checked_run(tensor: Tensor, elements: int) -> Tensor:
    """Return a tensor that is one run of so many elements, for a kernel that takes tensors.

    Raises:
        BackendError: it is not.
    """
    address(tensor, tensor.dtype, elements, device=tensor.device)
    return tensor


def strided_address(tensor: Tensor, device: torch.device) -> int:
    """Return where a tensor begins whose strides the kernel is told.

    Raises:
        BackendError: it is elsewhere, or its memory ends before its last element.
    """
    if tensor.device != device or not is_materialised(tensor):
        raise BackendError(f"a kernel on {device} was given what is not in its memory as it is")
    reach = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return _inside(tensor, reach + 1 if tensor.numel() else 0)


def table_address(table: NDArray[Any], columns: int) -> int:
    """Return where a table of int64 begins.

    Raises:
        BackendError: it is anything else.
    """
    if table.dtype != np.int64 or not table.flags.c_contiguous or table.shape[1:] != (columns,):
        raise BackendError(f"a kernel wants a table of {columns} int64, got {table.dtype}")
    return int(table.ctypes.data)


def _inside(tensor: Tensor, elements: int) -> int:
    held = tensor.untyped_storage().nbytes() // tensor.itemsize - tensor.storage_offset()
    if held < elements:
        raise BackendError(f"a kernel wants {elements} elements, and {held} are in memory")
    return tensor.data_ptr()

"""One program of a launch for tensors larger than any memory, in Triton's interpreter.

The tensors are reserved addresses, of which only the pages that a program writes need memory. NumPy
computes addresses in 32 bits, which wrap, or in 64, as the kernel says; all of them are noted.
"""

from __future__ import annotations

import mmap
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from triton.runtime import interpreter
from triton_accesses import tensors_of

from torchattr.kernels.triton.launch import Launch

# Python knows the name of MAP_NORESERVE from 3.13 on.
RESERVED = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000


def reserved(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return a contiguous tensor of zeros that takes no memory until it is written."""
    room = mmap.mmap(-1, prod(shape) * dtype.itemsize, flags=RESERVED)
    return torch.frombuffer(room, dtype=dtype).view(shape)


class Accesses:
    """Addresses that one program loads from or stores to."""

    def __init__(self) -> None:
        self.loaded: set[tuple[int, int]] = set()
        self.stored: set[tuple[int, int]] = set()

    def loaded_from(self, tensor: Tensor) -> set[int]:
        """Return the elements loaded from a tensor, as distances from its first."""
        return _within(self.loaded, tensor)

    def stored_to(self, tensor: Tensor) -> set[int]:
        """Return the elements stored to a tensor, as distances from its first."""
        return _within(self.stored, tensor)


def _within(found: set[tuple[int, int]], tensor: Tensor) -> set[int]:
    size, start = tensor.itemsize, tensor.data_ptr()
    return {
        (address - start) // size + lane
        for address, width in found
        if 0 <= address - start < tensor.numel() * size
        for lane in range(width // size)
    }


def _noted(pointers: Any, mask: Any) -> set[tuple[int, int]]:
    width = max(1, pointers.get_element_ty().primitive_bitwidth // 8)
    addresses, chosen = np.broadcast_arrays(pointers.data, mask.data)
    return {(int(address), width) for address in addresses[chosen.astype(bool)]}


def program(
    monkeypatch: pytest.MonkeyPatch, launch: Launch, number: int, *tensors: Any
) -> Accesses:
    """Run one program of a launch, and return its accesses."""
    accesses, builder = Accesses(), interpreter.InterpreterBuilder
    begin_load, begin_store = builder.create_masked_load, builder.create_masked_store

    rooms = [tensor.untyped_storage() for tensor in tensors_of(tensors)]

    def noted(pointers, mask):
        found = _noted(pointers, mask)
        for address, width in found:
            # An access elsewhere would end the process.
            inside = (0 <= address - room.data_ptr() <= room.nbytes() - width for room in rooms)
            assert any(inside), "an address is outside of all tensors"
        return found

    def load(self, pointers, mask, *rest):
        accesses.loaded.update(noted(pointers, mask))
        return begin_load(self, pointers, mask, *rest)

    def store(self, pointers, value, mask, *rest):
        accesses.stored.update(noted(pointers, mask))
        return begin_store(self, pointers, value, mask, *rest)

    def program_id(self, axis):
        return interpreter.TensorHandle(
            np.array([number if axis == 0 else 0], np.int32), interpreter.tl.int32
        )

    with monkeypatch.context() as patch:
        patch.setattr(builder, "create_masked_load", load)
        patch.setattr(builder, "create_masked_store", store)
        patch.setattr(builder, "create_get_program_id", program_id)
        patch.setattr(launch, "_grid", (1, 1, 1))
        launch(*tensors)
    return accesses


def chosen(launch: Launch, place: float) -> int:
    """Return the program at a share of a launch's programs."""
    return int((launch._grid[0] - 1) * place)

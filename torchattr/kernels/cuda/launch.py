"""What the CUDA backend asks of whoever compiles and starts its kernels."""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torchattr.kernels.pointers import address, strided_address

THREADS = 256
"""Threads in a block, of all kernels."""


@dataclass(frozen=True)
class Strided:
    """A tensor that may lie anyhow, because the kernel is told its strides."""

    tensor: Tensor


Argument = Tensor | Strided | int | float | tuple[int, ...] | None
"""A pointer (or none), a `long long`, a `float`, or a structure of `long long` in this order.

A tensor without its strides is one run of memory, in any order of its dimensions.
"""


@dataclass(frozen=True)
class Kernel:
    """A kernel by the name of its source, which is its function's, and what is defined for it."""

    name: str
    defines: tuple[str, ...]

    @property
    def options(self) -> list[str]:
        return [f"-D{define}" for define in (f"THREADS={THREADS}", *self.defines)]


class Launcher(ABC):
    """Compiles kernels and starts them."""

    @abstractmethod
    def refusals(self, device: torch.device) -> list[str]:
        """Give every reason why nothing can be started on `device`."""

    @abstractmethod
    def launch(
        self, kernel: Kernel, device: torch.device, threads: int, arguments: Sequence[Argument]
    ) -> None:
        """Start at least so many threads, in whole blocks."""

    def builds_in(self, comparisons: int) -> bool:
        """Tell whether a window with so many comparisons a thread is built into its kernel."""
        return comparisons <= 160


class Packed:
    """Arguments as C wants them: an array of pointers to their values."""

    def __init__(self, arguments: Sequence[Argument], device: torch.device) -> None:
        self._values = [_as_c(argument, device) for argument in arguments]
        addresses = [ctypes.addressof(value) for value in self._values]
        self.pointers = (ctypes.c_void_p * len(addresses))(*addresses)


def _as_c(argument: Argument, device: torch.device) -> ctypes._SimpleCData | ctypes.Array:
    if argument is None:
        return ctypes.c_void_p(None)
    if isinstance(argument, Strided):
        return ctypes.c_void_p(strided_address(argument.tensor, device))
    if isinstance(argument, Tensor):
        return ctypes.c_void_p(_of_run(argument, device))
    if isinstance(argument, float):
        return ctypes.c_float(argument)
    if isinstance(argument, tuple):
        return (ctypes.c_longlong * len(argument))(*argument)
    return ctypes.c_longlong(argument)


def _of_run(tensor: Tensor, device: torch.device) -> int:
    return address(tensor, tensor.dtype, tensor.numel(), device=device, any_order=True)


def divisor(value: int) -> tuple[int, int, int]:
    """Give what the kernels need to divide by `value`: itself, a factor and a shift."""
    shift = (value - 1).bit_length()
    return value, (2**32 * (2**shift - value)) // value + 1, shift

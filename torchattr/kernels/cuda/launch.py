"""The interface by which the CUDA backend has its kernels compiled and launched."""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torchattr.kernels.pointers import address, strided_address

THREADS = 256
"""Threads per block, for all kernels."""


@dataclass(frozen=True)
class Strided:
    """A tensor in any layout, whose strides the kernel receives."""

    tensor: Tensor


Argument = Tensor | Strided | int | float | tuple[int, ...] | None
"""A pointer (or none), a `long long`, a `float`, or a structure of `long long` in this order.

A tensor without its strides must be dense, in any memory order.
"""


@dataclass(frozen=True)
class Kernel:
    """A kernel: the name of its source and function, and the macros defined for it."""

    name: str
    defines: tuple[str, ...]

    @property
    def options(self) -> list[str]:
        return [f"-D{define}" for define in (f"THREADS={THREADS}", *self.defines)]


class Launcher(ABC):
    """Compiles and launches kernels."""

    @abstractmethod
    def refusals(self, device: torch.device) -> list[str]:
        """Return every reason why nothing can be launched on `device`."""

    @abstractmethod
    def launch(
        self, kernel: Kernel, device: torch.device, threads: int, arguments: Sequence[Argument]
    ) -> None:
        """Launch at least so many threads, in whole blocks."""

    def builds_in(self, comparisons: int) -> bool:
        """Whether a window with so many comparisons per thread is compiled into its kernel."""
        return comparisons <= 160


class Packed:
    """Arguments in C form: an array of pointers to their values."""

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
        return ctypes.c_void_p(_dense_address(argument, device))
    if isinstance(argument, float):
        return ctypes.c_float(argument)
    if isinstance(argument, tuple):
        return (ctypes.c_longlong * len(argument))(*argument)
    return ctypes.c_longlong(argument)


def _dense_address(tensor: Tensor, device: torch.device) -> int:
    return address(tensor, tensor.dtype, tensor.numel(), device=device, any_order=True)


def divisor(value: int) -> tuple[int, int, int]:
    """Return what kernels need to divide by `value`: itself, a factor and a shift."""
    shift = (value - 1).bit_length()
    return value, (2**32 * (2**shift - value)) // value + 1, shift

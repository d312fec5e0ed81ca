"""The interface by which the CUDA backend has its kernels compiled and launched."""

from __future__ import annotations

import ctypes
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

THREADS = 256
"""Threads per block, for all kernels."""

PLANS = 4096
"""Number of plans that are kept, of each kind."""


Value = int | float | tuple[int, ...]
"""A `long long`, a `float`, or a structure of `long long` in this order."""


@dataclass(frozen=True)
class Kernel:
    """A kernel: the name of its source and function, and the macros defined for it."""

    name: str
    defines: tuple[str, ...]

    @property
    def options(self) -> list[str]:
        return [f"-D{define}" for define in (f"THREADS={THREADS}", *self.defines)]


class LaunchPlan:
    """A kernel and its arguments in C form, for tensors of one layout: all but their addresses.

    A kernel's first parameters are pointers, the others are the plan's values.

    Attributes:
        kernel: the kernel.
        threads: number of threads.
        blocks: number of blocks of them.
        loaded: what the launcher has loaded to run the kernel, by device.
    """

    def __init__(self, kernel: Kernel, threads: int, pointers: int, *values: Value) -> None:
        self.kernel, self.threads = kernel, threads
        self.blocks = -(-threads // THREADS)
        self.loaded: dict[int, ctypes.c_void_p] = {}
        self._values = [_as_c(value) for value in values]
        self._behind = [ctypes.addressof(value) for value in self._values]
        self._pointers = ctypes.c_void_p * pointers
        self._parameters = ctypes.c_void_p * (pointers + len(values))
        self._offsets = [ctypes.sizeof(ctypes.c_void_p) * i for i in range(pointers)]

    def parameters(self, addresses: Sequence[int | None]) -> Parameters:
        """Return the kernel's parameters for tensors at some addresses.

        They are made anew for each launch, as several threads may share a plan.
        """
        held = self._pointers(*addresses)
        first = ctypes.addressof(held)
        array = self._parameters(*[first + offset for offset in self._offsets], *self._behind)
        return Parameters(array, held)


class Parameters(NamedTuple):
    """An array of pointers to a kernel's arguments, and the memory of those that are pointers."""

    array: ctypes.Array[ctypes.c_void_p]
    held: ctypes.Array[ctypes.c_void_p]


def _as_c(value: Value) -> ctypes._SimpleCData[Any] | ctypes.Array[Any]:
    if isinstance(value, float):
        return ctypes.c_float(value)
    if isinstance(value, tuple):
        return (ctypes.c_longlong * len(value))(*value)
    return ctypes.c_longlong(value)


class Launcher(ABC):
    """Compiles and launches kernels."""

    @abstractmethod
    def refusals(self, device: torch.device) -> list[str]:
        """Return every reason why nothing can be launched on `device`."""

    @abstractmethod
    def launch(
        self, plan: LaunchPlan, device: torch.device, addresses: Sequence[int | None]
    ) -> None:
        """Launch a plan's threads, in whole blocks, on memory of `device`."""

    def builds_in(self, comparisons: int) -> bool:
        """Whether a window with so many comparisons per thread is compiled into its kernel."""
        return comparisons <= 160


def divisor(value: int) -> tuple[int, int, int]:
    """Return what kernels need to divide by `value`: itself, a factor and a shift."""
    shift = (value - 1).bit_length()
    return value, (2**32 * (2**shift - value)) // value + 1, shift

"""Launches of one kernel with tensors that differ, at little cost for each.

Triton finds the compiled kernel of a launch by all of its arguments, which takes longer than many
kernels run. A :class:`Launch` holds what does not change: grid, numbers and constants. What is left
to tell compiled kernels apart are the tensors' dtypes and alignments, the device, and settings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeAlias

import torch
import triton
from torch import Tensor
from triton import knobs
from triton.compiler import CompiledKernel

from torchattr.kernels.triton.availability import NEWEST, release

ALIGNMENT = 16
"""Bytes: a kernel is compiled for pointers that are multiples of this, and for all others."""

PLANS = 1024
"""So many shapes are remembered of each kind of launch."""

Argument: TypeAlias = Tensor | tuple[Tensor, ...]

Key: TypeAlias = tuple[object, ...]


class Launch:
    """One launch of a kernel, but for its tensors.

    Args:
        kernel: a kernel whose first parameters are tensors or tuples of them, and whose last ones
            are constants.
        grid: the number of its programs.
        numbers: its arguments after the tensors.
        constants: its constants, and options of the compiler.
    """

    def __init__(
        self, kernel: Any, grid: Sequence[int], numbers: tuple[Any, ...], **constants: Any
    ) -> None:
        self._kernel, self._grid = kernel, (*grid, 1, 1)[:3]
        self._numbers, self._constants = numbers, constants
        values = (constants[name] for name in kernel.arg_names if name in constants)
        self._rest = (*numbers, *values)
        self._compiled: dict[Key, Callable[..., None]] = {}

    def __call__(self, target: Tensor, *others: Argument) -> None:
        """Launch the kernel on the device of its first tensor, in the current stream of that."""
        device, tensors = target.get_device(), (target, *others)
        if device < 0 or device == torch.cuda.current_device():
            self._start(device, tensors)
        else:
            with torch.cuda.device(device):
                self._start(device, tensors)

    def _start(self, device: int, tensors: tuple[Argument, ...]) -> None:
        key = _key(device, tensors)
        start = self._compiled.get(key)
        if start is None or _is_watched(self._kernel):
            self._start_by_triton(key, tensors)
        else:
            start(*tensors, *self._rest)

    def _start_by_triton(self, key: Key, tensors: tuple[Argument, ...]) -> None:
        launch = self._kernel[self._grid]
        compiled = launch(*tensors, *self._numbers, **self._constants)
        if _starts_alone(compiled):
            self._compiled[key] = compiled[self._grid]


def _key(device: int, tensors: tuple[Argument, ...]) -> Key:
    """Return all that Triton compiles a kernel for, but for numbers and constants."""
    mode = getattr(knobs.compilation, "instrumentation_mode", None)
    kinds = [
        tuple([(each.dtype, each.data_ptr() % ALIGNMENT == 0) for each in tensor])
        if isinstance(tensor, tuple)
        else (tensor.dtype, tensor.data_ptr() % ALIGNMENT == 0)
        for tensor in tensors
    ]
    return device, knobs.runtime.debug, mode, *kinds


def _is_watched(kernel: Any) -> bool:
    """Whether a user's hooks expect to be called by Triton before each launch."""
    stages = getattr(knobs.runtime, "add_stages_inspection_hook", None)
    return bool(kernel.pre_run_hooks) or stages is not None


def _starts_alone(compiled: object) -> bool:
    """Whether a compiled kernel can be launched again by itself.

    On AMD GPUs Triton compiles for the sizes of tensors, too. The interpreter compiles nothing.
    """
    if not isinstance(compiled, CompiledKernel):
        return False
    return _is_known_version() and bool(compiled.metadata.target.backend == "cuda")


@cache
def _is_known_version() -> bool:
    """Whether compiled kernels take the arguments that this module passes."""
    return release(triton.__version__) <= NEWEST

"""A recorder for the CPU: repeats the recorded work on the same memory, as a CUDA graph does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.grad_mode import _unsafe_preserve_version_counter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from torchattr.preparation.replay import GraphRecorder


class CannotRecord(RuntimeError):
    """A value was requested while work was recorded."""


class Tape(TorchDispatchMode):
    """Records each operation below autograd, with the tensors that it read and returned."""

    def __init__(self) -> None:
        super().__init__()
        self._steps: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "_local_scalar_dense" in str(func):
            raise CannotRecord("a value was read while the graph was recorded\nand a second line")
        result = func(*args, **(kwargs or {}))
        self._steps.append((func, args, kwargs or {}, result))
        return result

    def replay(self) -> None:
        for func, args, kwargs, result in self._steps:
            read, given = tensors((args, kwargs)), tensors(result)
            # A replayed CUDA graph is hidden from autograd, too.
            kept = _unsafe_preserve_version_counter((*read, *given))
            with torch.no_grad(), torch._C._AutoDispatchBelowAutograd(), kept:
                again = func(*args, **kwargs)
                places = set(map(place, read))
                for old, new in zip(given, tensors(again), strict=True):
                    # A view, or an overwritten tensor, already has its values.
                    if place(old) not in places:
                        old.copy_(new)


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


class TapeRecorder(GraphRecorder):
    """Records tapes, and counts its calls."""

    def __init__(self) -> None:
        self.recorded = 0
        self.replayed = 0
        self.finished = 0

    def refusal(self, inputs: Sequence[Tensor]) -> str | None:
        return None

    def record(self, run: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        tape = Tape()
        with tape:
            result = run()
        self.recorded += 1
        return result, lambda: self._replay(tape)

    def finish(self) -> None:
        self.finished += 1

    def _replay(self, tape: Tape) -> None:
        self.replayed += 1
        tape.replay()

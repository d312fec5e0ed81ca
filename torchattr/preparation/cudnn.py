"""`torch.backends.cudnn.benchmark`, only around the work of prepared models.

It makes cuDNN time all its algorithms for each new shape and keep the fastest. What it finds for a
shape is kept in the process, also for later calls without it, and so is what cuDNN's heuristics
chose if the shape came first without it: so whatever may benefit has to run with it first.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from torchattr.core.undoing import Undo, undone
from torchattr.methods import ForwardResult


class Switch:
    """Turns the setting on while anyone needs it, and then back to what it was before.

    The setting is the process's, so several threads may need it at once.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._users: set[object] = set()
        self._before = False

    def on(self, user: object) -> None:
        with self._lock:
            if not self._users:
                self._before = torch.backends.cudnn.benchmark
            self._users.add(user)
            torch.backends.cudnn.benchmark = True

    def off(self, user: object) -> None:
        """Undo :meth:`on`; may run twice, or without it."""
        with self._lock:
            if user in self._users:
                self._users.remove(user)
                if not self._users:
                    torch.backends.cudnn.benchmark = self._before


_SWITCH = Switch()


def benchmark_cudnn(undo: Undo, wanted: bool) -> None:
    """Turn the setting on if it is wanted, until undone."""
    if wanted:
        user = object()
        undo.later(lambda: _SWITCH.off(user))
        _SWITCH.on(user)


class _BenchmarkedResult:
    """A forward whose backwards run with the setting; everything else is the forward's."""

    def __init__(self, forward: ForwardResult) -> None:
        self._forward = forward

    def gradients(
        self, scores: Tensor, edges: Sequence[GradientEdge | None], **options: Any
    ) -> list[Tensor | None]:
        with undone() as undo:
            benchmark_cudnn(undo, True)
            return self._forward.gradients(scores, edges, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._forward, name)


def with_benchmarked_backwards(forward: ForwardResult) -> ForwardResult:
    """Return a forward whose backwards run with the setting."""
    return cast("ForwardResult", _BenchmarkedResult(forward))

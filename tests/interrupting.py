"""Raising KeyboardInterrupt at chosen lines, and what of a call may have been left behind."""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
import threading
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch._dynamo
from torch import Tensor, nn
from torch.autograd import grad_mode, graph
from torch.utils import _python_dispatch

import torchattr as ta
from torchattr.layers.guards import _stance

PACKAGE = str(Path(ta.__file__).parent)
MANAGERS = tuple(
    str(module.__file__)
    for module in (contextlib, grad_mode, graph, torch.overrides, _python_dispatch)
)
"""What `with` enters there is written in Python, so a signal may come in the midst of it."""

Work = Callable[[], Any]


@dataclass(frozen=True)
class Spot:
    """The time that a line is reached for the n-th time in a call."""

    file: str
    line: int
    number: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line} (time {self.number})"


class Tracer(ABC):
    """Sees the lines of some files that run in a call, until it has raised.

    Args:
        files: how the names of these files begin.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._files = tuple(files)
        self._raised = False

    @abstractmethod
    def reached(self, file: str, line: int) -> bool:
        """Note a line; whether KeyboardInterrupt is to be raised there."""

    def run(self, work: Work) -> Any:
        before = sys.gettrace()
        sys.settrace(self._called)
        try:
            return work()
        finally:
            sys.settrace(before)

    def _called(self, frame: Any, event: str, argument: Any) -> Any:
        if self._raised or not frame.f_code.co_filename.startswith(self._files):
            return None
        visited: set[int] = set()

        def line(frame: Any, event: str, argument: Any) -> Any:
            if event == "line" and not self._raised:
                self._at(frame.f_code.co_filename, frame.f_lineno, visited)
            return line

        return line

    def _at(self, file: str, line: int, visited: set[int]) -> None:
        # A signal is answered after a call. None comes between the last call of a `with` block and
        # that which leaves it, where Python reports the line once more.
        if line in visited and line in with_lines(file):
            return
        visited.add(line)
        if self.reached(file, line):
            self._raised = True
            raise KeyboardInterrupt


class Lines(Tracer):
    """Counts the lines that run, and raises KeyboardInterrupt at one of them."""

    def __init__(self, spot: Spot | None = None, files: Sequence[str] = (PACKAGE, *MANAGERS)):
        super().__init__(files)
        self.spot = spot
        self.counts: Counter[tuple[str, int]] = Counter()

    def reached(self, file: str, line: int) -> bool:
        self.counts[file, line] += 1
        return self.spot == Spot(file, line, self.counts[file, line])


@cache
def with_lines(file: str) -> frozenset[int]:
    import ast

    tree = ast.parse(Path(file).read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.With)]
    return frozenset(
        line
        for node in found
        for line in range(node.lineno, node.items[-1].context_expr.end_lineno + 1)
    )


def spots_of(work: Work) -> list[Spot]:
    """Return the first time that each line runs, and the last."""
    lines = Lines()
    lines.run(work)
    return [
        Spot(file, line, number)
        for (file, line), count in lines.counts.items()
        for number in sorted({1, count})
    ]


def modes() -> list[Any]:
    """Return what sees functions; what is over may be left there, where it does nothing."""
    return torch.overrides._get_current_function_mode_stack()


def traces(model: nn.Module) -> dict[str, Any]:
    """Take down everything that may have been left behind."""
    names = [name for name in vars(model) if "_hooks" in name]
    return {
        "hooks": [dict(getattr(part, name)) for part in model.modules() for name in names],
        "parts": [(part.training, sorted(vars(part))) for part in model.modules()],
        "modes": [one for one in modes() if getattr(one, "mode", one) is not None],
        "dispatch modes": _python_dispatch._get_current_dispatch_mode_stack(),
        "dispatching": (
            _python_dispatch._is_in_torch_dispatch_mode,
            _python_dispatch._is_in_non_infra_torch_dispatch_mode,
        ),
        "functions seen": torch._C._is_torch_function_enabled(),
        "saved tensors": torch._C._autograd._top_saved_tensors_default_hooks(True),
        "stance": torch._dynamo.eval_frame._stance,
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "casts": torch.is_autocast_cache_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "dtype": torch.get_default_dtype(),
        "users": set(_stance._users),
        "path": list(sys.path),
        "logging": logging.root.manager.disable,
        "filters": list(warnings.filters),
        "variables": [one.get() for one in _held_by_modules(ContextVar)],
    }


def _held_by_modules(kind: Any) -> list[Any]:
    ours = [module for name, module in sys.modules.items() if name.startswith("torchattr")]
    return [one for module in ours for one in vars(module).values() if isinstance(one, kind)]


def locks() -> list[Any]:
    """Return the locks that objects and modules of the package hold."""
    known = (type(threading.Lock()), type(threading.RLock()))
    ours = [one for one in gc.get_objects() if str(type(one).__module__).startswith("torchattr")]
    held = [one for owner in ours for one in getattr(owner, "__dict__", {}).values()]
    return [*_held_by_modules(known), *(one for one in held if isinstance(one, known))]


def are_free(some: Sequence[Any]) -> bool:
    """Ask in another thread: the one that holds a lock may take it again."""
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.extend(map(_is_free, some)))
    thread.start()
    thread.join()
    return all(found)


def _is_free(lock: Any) -> bool:
    free = bool(lock.acquire(blocking=False))
    if free:
        lock.release()
    return free


def tensors(value: Any) -> list[Any]:
    """Return the tensors and texts in what a call gave."""
    if isinstance(value, Tensor):
        return [value.detach().clone()]
    if isinstance(value, (tuple, list)):
        return [one for item in value for one in tensors(item)]
    if isinstance(value, dict):
        return tensors(list(value.values()))
    if str(type(value).__module__).startswith("torchattr"):
        return tensors([held for name, held in sorted(vars(value).items())])
    return [value] if isinstance(value, str) else []


def _equal(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, Tensor) else bool(one == other)


def same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    return len(one) == len(other) and all(map(_equal, one, other))


def interrupted_at(spots: Sequence[Spot], work: Work, model: nn.Module) -> list[str]:
    """Interrupt a call at some spots; return what was then wrong."""
    work()
    expected, before, held = tensors(work()), traces(model), locks()
    wrong = []
    for spot in spots:
        with contextlib.suppress(KeyboardInterrupt):
            Lines(spot).run(work)
        now = traces(model)
        left = [name for name in before if now[name] != before[name]]
        left += [] if are_free(held) else ["locks"]
        left += [] if same(tensors(work()), expected) else ["numbers"]
        left += ["modes, still"] if modes() else []
        if left:
            wrong.append(f"{spot}: {', '.join(left)}")
            before = traces(model)
    return wrong

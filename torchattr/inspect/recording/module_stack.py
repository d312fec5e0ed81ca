"""Which module of a model is running, known during a forward without leaving anything on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from torchattr.core.undoing import undone
from torchattr.layers import ThreadHook, hook_forward

Given = Callable[[str, Any], None]


class ModuleStack:
    """Follows the running modules of one thread; another that runs the same ones passes by.

    Args:
        names: the modules to follow, by name.
        given: called with the name of a module and its output, each time that one has run.

    >>> import torch
    >>> seen = []
    >>> relu = nn.ReLU()
    >>> with ModuleStack({"a": relu}, lambda name, output: seen.append(name)).following():
    ...     _ = relu(torch.ones(1))
    >>> seen
    ['a']
    """

    def __init__(self, names: Mapping[str, nn.Module], given: Given | None = None) -> None:
        self._names = names
        self._given = given
        self._running: list[str] = []

    @property
    def current(self) -> str:
        """The name of the innermost module that runs; empty in the model itself."""
        return self._running[-1] if self._running else ""

    @contextmanager
    def following(self) -> Iterator[None]:
        """Hook the modules for the time of a `with` block."""
        with undone() as undo:
            for name, module in self._names.items():
                hook_forward(undo, module, ThreadHook(self._enter(name)), before=True)
                # Also called when the module raises: a model may catch what its part raised.
                hook_forward(undo, module, ThreadHook(self._leave(name)), always=True)
            yield

    def _enter(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any = None) -> None:
            self._running.append(name)

        return hook

    def _leave(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            # A module whose own hooks raised before it began was never entered.
            if self.current != name:
                return
            self._running.pop()
            if self._given is not None and output is not None:
                self._given(name, output)

        return hook

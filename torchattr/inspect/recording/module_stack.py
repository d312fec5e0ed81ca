"""The stack of modules that are running in a forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from torchattr.core.undoing import undone
from torchattr.layers import ThreadHook, hook_forward

Given = Callable[[str, Any], None]


class ModuleStack:
    """The running modules of one thread; other threads that run the same modules are ignored.

    Args:
        names: the modules to follow, by name.
        given: called with the name and output of each module that has run.

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
        """Name of the innermost running module; empty in the model itself."""
        return self._running[-1] if self._running else ""

    @contextmanager
    def following(self) -> Iterator[None]:
        """Hook the modules for the duration of a `with` block."""
        with undone() as undo:
            for name, module in self._names.items():
                hook_forward(undo, module, ThreadHook(self._enter(name)), before=True)
                # Also called when the module raises: a model may catch the error of a child.
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

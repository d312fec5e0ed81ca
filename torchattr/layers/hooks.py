"""Hooks that serve one thread; a model that several threads run at once has those of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import get_ident
from typing import Any


class ThreadHook:
    """A forward hook that acts in the thread that made it, and passes by in every other.

    PyTorch calls every hook of a module in whatever thread runs the module. What looks at the
    hooks of a module must not be led by those that will pass by.

    A copy of the module, or one read from a file, gets one that passes by everywhere.

    Args:
        hook: what a module calls; it may return `None`.
        thread: the thread that it serves; 0 is this one.

    >>> import torch
    >>> seen = []
    >>> relu = torch.nn.ReLU()
    >>> handle = relu.register_forward_hook(ThreadHook(lambda *call: seen.append(call[2])))
    >>> relu(torch.ones(1)), seen
    (tensor([1.]), [tensor([1.])])
    """

    def __init__(self, hook: Callable[..., Any], thread: int = 0) -> None:
        self._hook = hook
        self._thread = thread or get_ident()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._hook(*args, **kwargs) if self.acts() else None

    def acts(self) -> bool:
        """Whether it does anything in this thread."""
        return get_ident() == self._thread

    def __reduce__(self) -> Any:
        return ThreadHook, (_nothing, _NOBODY)


_NOBODY = -1


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Stand in a copied hook for what the original does."""


def any_acts(hooks: Mapping[int, Callable[..., Any]]) -> bool:
    """Whether a module has a hook that does something in this thread.

    >>> any_acts({0: print}), any_acts({0: ThreadHook(print)}), any_acts({})
    (True, True, False)
    """
    # A list is made at once; another thread may add a hook while a dictionary is walked.
    return any(not isinstance(hook, ThreadHook) or hook.acts() for hook in list(hooks.values()))

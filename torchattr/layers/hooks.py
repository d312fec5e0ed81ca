"""Hooks that act in one thread only, since concurrent threads share a model's hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import get_ident
from typing import Any


class ThreadHook:
    """A forward hook that acts in the thread that created it, and does nothing in all others.

    PyTorch calls every hook of a module in any thread that runs the module. Code that inspects a
    module's hooks must ignore those that will do nothing (:func:`any_acts`).

    In a copy of the module, or one read from a file, the hook never acts.

    Args:
        hook: the hook; it may return `None`.
        thread: the thread that it acts in; 0 for this one.

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
        """Whether it acts in this thread."""
        return get_ident() == self._thread

    def __reduce__(self) -> Any:
        return ThreadHook, (_nothing, _NOBODY)


_NOBODY = -1


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Do nothing: the hook of a copy."""


def any_acts(hooks: Mapping[int, Callable[..., Any]]) -> bool:
    """Whether any of a module's hooks acts in this thread.

    >>> any_acts({0: print}), any_acts({0: ThreadHook(print)}), any_acts({})
    (True, True, False)
    """
    # A list, made at once: another thread may add a hook while a dictionary is iterated.
    return any(not isinstance(hook, ThreadHook) or hook.acts() for hook in list(hooks.values()))

"""Warnings: reported at the line of the caller's own code, or passed to a listener."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

from torchattr.core.undoing import undone
from torchattr.errors import Hint, TorchattrWarning

T = TypeVar("T")

_PACKAGE = str(Path(__file__).parents[1])

Listener: TypeAlias = Callable[[TorchattrWarning], None]

_listener: ContextVar[Listener | None] = ContextVar("torchattr_listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Pass the warnings raised within the block to a function instead.

    Unlike `warnings.catch_warnings`, whose filters belong to the whole process, it affects this
    thread only.

    >>> from torchattr.errors import LayerChoiceWarning
    >>> heard = []
    >>> with listening(heard.append):
    ...     warn("a layer was chosen", LayerChoiceWarning)
    >>> heard
    [LayerChoiceWarning('a layer was chosen')]
    """
    with undone() as undo:
        undo.later(partial(_listener.set, _listener.get()), of_thread=True)
        _listener.set(listener)
        yield


def unheard() -> AbstractContextManager[None]:
    """Drop the warnings raised within the block, in this thread only.

    >>> from torchattr.errors import LayerChoiceWarning
    >>> with unheard():
    ...     warn("a layer was chosen", LayerChoiceWarning)
    """
    return listening(lambda warning: None)


def said_once(run: Callable[[], T]) -> T:
    """Return what a function returns; what it warns of several times is reported once, at its end.

    >>> from torchattr.errors import LayerChoiceWarning
    >>> heard = []
    >>> with listening(heard.append):
    ...     said_once(lambda: [warn("a layer was chosen", LayerChoiceWarning) for _ in range(2)])
    [None, None]
    >>> heard
    [LayerChoiceWarning('a layer was chosen')]
    """
    heard: list[TorchattrWarning] = []
    with listening(heard.append):
        result = run()
    for said in {str(one): one for one in heard}.values():
        warn(said.message, type(said))
    return result


def warn(message: str, category: type[TorchattrWarning], hint: Hint | None = None) -> None:
    """Warn at the line of the caller's own code, however deep in this package it is raised."""
    warning = category(message, hint=hint)
    listener = _listener.get()
    if listener is not None:
        return listener(warning)
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return warnings.warn(warning, stacklevel=level)

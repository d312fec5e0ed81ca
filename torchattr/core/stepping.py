"""Cooperative scheduling: long loops call :func:`step` in each iteration.

A caller that installed a callback with :func:`stepping` can then let other work run between two
steps, or cancel the loop, as the viewer does for each of its jobs. Without a callback, nothing
happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from torchattr.core.undoing import undone

_callback: ContextVar[Callable[[], None] | None] = ContextVar("torchattr_step", default=None)


class Cancelled(BaseException):
    """The work was cancelled; not an `Exception`, so that no handler mistakes it for a failure."""


def step() -> None:
    """Announce that a step is about to begin.

    A loop calls it where it holds no lock and has nothing installed on the model, since another
    job may run the same model before it returns.

    Raises:
        Cancelled: the work was cancelled.

    >>> step()
    """
    callback = _callback.get()
    if callback is not None:
        callback()


@contextmanager
def stepping(callback: Callable[[], None]) -> Iterator[None]:
    """Call `callback` before each step within the block, in this thread; it may block or raise.

    >>> counted = []
    >>> with stepping(lambda: counted.append(1)):
    ...     step()
    >>> counted
    [1]
    """
    with undone() as undo:
        undo.later(partial(_callback.set, _callback.get()), of_thread=True)
        _callback.set(callback)
        yield

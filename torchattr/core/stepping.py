"""Cooperative scheduling: long loops call :func:`step` in each iteration.

A caller that installed a callback with :func:`stepping` can then let other work run between two
steps, or cancel the loop, as the viewer does for each of its jobs. Without a callback, nothing
happens. A loop that knows its end counts its steps with :func:`counted`, so that the callback can
ask for the share of the work that is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from torchattr.core.undoing import undone

_callback: ContextVar[Callable[[], None] | None] = ContextVar("torchattr_step", default=None)

_span: ContextVar[tuple[float, float] | None] = ContextVar("torchattr_span", default=None)
"""Where the present step begins and how much of the work it is, both as shares of the whole."""


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


@contextmanager
def watching(progress: Callable[[float], None]) -> Iterator[None]:
    """Call `progress` with the share of the work that is done, before steps of counted loops.

    It is told growing shares only: of loops that follow one another, each of which counts from 0,
    a later one is told from where it passes the former ones.

    >>> with watching(print), counted(2) as begin:
    ...     begin(0, 1)
    ...     begin(1, 2)
    ...     begin(0, 1)
    0.0
    0.5
    """
    outer, told = _callback.get(), -1.0

    def callback() -> None:
        nonlocal told
        share = share_done()
        if share is not None and share > told:
            told = share
            progress(share)
        if outer is not None:
            outer()

    with stepping(callback):
        yield


@contextmanager
def counted(total: float) -> Iterator[Callable[[float, float], None]]:
    """Yield a function that announces a step of a loop, from one number to another out of `total`.

    A counted loop inside a step divides that step.

    >>> shares = []
    >>> with stepping(lambda: shares.append(share_done())), counted(2) as begin:
    ...     for number in range(2):
    ...         begin(number, number + 1)
    ...         with counted(10) as begin_inner:
    ...             begin_inner(5, 10)
    >>> shares
    [0.0, 0.25, 0.5, 0.75]
    """
    outer = _span.get()
    start, width = outer or (0.0, 1.0)

    def begin(first: float, last: float) -> None:
        _span.set((start + width * first / total, width * (last - first) / total))
        step()

    with undone() as undo:
        undo.later(partial(_span.set, outer), of_thread=True)
        yield begin


def share_done() -> float | None:
    """Return the share of the work that is done, 0..1, or `None` outside of counted loops.

    Work may be several loops, one after another, each of which counts from 0 to 1.

    >>> share_done() is None
    True
    """
    span = _span.get()
    return None if span is None else span[0]

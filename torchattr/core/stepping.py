"""Work in steps, so that whoever runs it can let others have a turn between two, or end it.

Loops that may take long call :func:`step` once each time round. Nothing happens unless somebody
asked to be told, as the viewer does for each of its jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from torchattr.core.undoing import undone

_told: ContextVar[Callable[[], None] | None] = ContextVar("torchattr_step", default=None)


class Cancelled(BaseException):
    """The work is not wanted any more; not an `Exception`, so that nothing takes it for a fault."""


def step() -> None:
    """Say that a step is about to begin.

    A loop calls it where it holds no lock and has nothing installed on the model, since another
    job may run the same model before it returns.

    Raises:
        Cancelled: if the work is to end here.

    >>> step()
    """
    told = _told.get()
    if told is not None:
        told()


@contextmanager
def stepping(told: Callable[[], None]) -> Iterator[None]:
    """Call `told` before each step of what runs inside, in this thread; it may wait or raise.

    >>> counted = []
    >>> with stepping(lambda: counted.append(1)):
    ...     step()
    >>> counted
    [1]
    """
    with undone() as undo:
        undo.later(partial(_told.set, _told.get()), of_thread=True)
        _told.set(told)
        yield

"""Undoing what was set for a while, also when Ctrl-C comes between any two steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import get_ident
from typing import TypeVar

T = TypeVar("T")

Step = Callable[[], object]


class Undo:
    """The steps that put everything back, the last first.

    Each is noted before what it undoes is done, and each may be done twice. So whoever is
    interrupted, also while undoing, can begin anew. What nobody undid is undone when this object
    is lost, which is when the traceback of the interrupt is.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[Step, bool]] = []
        self._thread = get_ident()

    def later(self, step: Step, *, of_thread: bool = False) -> None:
        """Note a step; one that is about the running thread is useless once that has gone on."""
        self._steps.append((step, of_thread))

    def run(self) -> None:
        """Do the steps that remain."""
        while self._steps:
            step, of_thread = self._steps[-1]
            if not of_thread or self._thread == get_ident():
                step()
            self._steps.pop()

    def __del__(self) -> None:
        self._steps = [step for step in self._steps if not step[1]]
        self.run()


def undoing(work: Callable[[Undo], T]) -> T:
    """Do some work, and undo what it says; if that is interrupted, once more."""
    undo = Undo()
    try:
        try:
            return work(undo)
        finally:
            undo.run()
    finally:
        undo.run()


@contextmanager
def undone() -> Iterator[Undo]:
    """Undo at the end of a `with` block what was noted in it; if that is interrupted, once more.

    Where the interrupt keeps the block from being left at all, Python closes this generator when
    it lets go of the traceback.

    >>> with undone() as undo:
    ...     undo.later(lambda: print("undone"))
    undone
    """
    undo = Undo()
    try:
        try:
            yield undo
        finally:
            undo.run()
    finally:
        undo.run()


@contextmanager
def own_filters() -> Iterator[None]:
    """Let the filters of warnings be changed within a `with` block.

    >>> import warnings
    >>> with own_filters():
    ...     warnings.simplefilter("ignore")
    ...     warnings.warn("nobody hears this", stacklevel=1)
    """
    with undone() as undo:
        caught = warnings.catch_warnings()
        undo.later(partial(_put_back, caught))
        caught.__enter__()
        yield


def _put_back(caught: warnings.catch_warnings) -> None:
    # It raises where it was not entered, or not wholly, after it has put back what it can.
    with suppress(RuntimeError, AttributeError):
        caught.__exit__(None, None, None)

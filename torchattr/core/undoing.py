"""Undo temporary changes, even if Ctrl-C interrupts between any two steps."""

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
    """The steps that undo temporary changes, run in reverse order.

    Each is registered before the change that it undoes, and each may run twice. So after an
    interrupt, even one during undoing, all of it can start again. Whatever is left runs when this
    object is deleted, which is when the traceback of the interrupt is.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[Step, bool]] = []
        self._thread = get_ident()

    def later(self, step: Step, *, of_thread: bool = False) -> None:
        """Register a step; one `of_thread` concerns this thread only and is dropped elsewhere."""
        self._steps.append((step, of_thread))

    def run(self) -> None:
        """Run the steps that are left."""
        while self._steps:
            step, of_thread = self._steps[-1]
            if not of_thread or self._thread == get_ident():
                step()
            self._steps.pop()

    def __del__(self) -> None:
        self._steps = [step for step in self._steps if not step[1]]
        self.run()


def undoing(work: Callable[[Undo], T]) -> T:
    """Run `work` and then the steps that it registered; if undoing is interrupted, resume it."""
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
    """Run at the end of a `with` block the steps registered in it; resume if interrupted.

    Where the interrupt keeps the block from being exited at all, Python closes this generator when
    it releases the traceback.

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
    """Restore the warning filters at the end of a `with` block, even after an interrupt.

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
    # It raises if it was not entered, or not completely, after it has restored what it can.
    with suppress(RuntimeError, AttributeError):
        caught.__exit__(None, None, None)

"""Ctrl-C, and the signals that a scheduler or a closing terminal sends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALED = 128
"""Shells add this to the number of the signal that ended a command."""


class Ended(KeyboardInterrupt):
    """Raised as Ctrl-C would be, for another signal that asks the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """Return the exit code of a command: 130 after Ctrl-C, 143 after SIGTERM.

    >>> exit_code(KeyboardInterrupt()), exit_code(Ended(signal.SIGTERM))
    (130, 143)
    """
    number = interrupt.number if isinstance(interrupt, Ended) else signal.SIGINT
    return _SIGNALED + number


@contextmanager
def ending_like_ctrl_c() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise as Ctrl-C does, unless they are handled or ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [signal.Signals[name] for name in names]
    taken = [one for one in numbers if signal.getsignal(one) is signal.SIG_DFL]
    try:
        for number in taken:
            signal.signal(number, _end)
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, frame: Any) -> None:
    raise Ended(number)

"""Whose turn it is: one at a time, visitors in rotation, and the jobs of each in rotation."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Hashable


class Turns:
    """Hands one turn around among owners, however many jobs each of them has.

    >>> turns = Turns()
    >>> turns.ask("one").wait(), turns.ask("two").is_set()
    (True, False)
    >>> turns.give()
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: OrderedDict[Hashable, deque[threading.Event]] = OrderedDict()
        self._taken = False

    def ask(self, owner: Hashable) -> threading.Event:
        """Stand in the line of an owner; what is returned is set when the turn has come."""
        ticket = threading.Event()
        with self._lock:
            self._lines.setdefault(owner, deque()).append(ticket)
            if not self._taken:
                self._call_next()
        return ticket

    def give(self) -> None:
        """Give the turn to whoever is next."""
        with self._lock:
            self._call_next()

    def pass_on(self, owner: Hashable) -> None:
        """Let all others have a turn first, and wait until it has come back."""
        with self._lock:
            if not self._lines:
                return
        ticket = self.ask(owner)
        self.give()
        ticket.wait()

    def _call_next(self) -> None:
        self._taken = bool(self._lines)
        if not self._taken:
            return
        owner, line = next(iter(self._lines.items()))
        line.popleft().set()
        self._lines.move_to_end(owner)
        if not line:
            del self._lines[owner]

"""Round-robin scheduling: one job runs at a time, and owners take turns."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Hashable


class RoundRobin:
    """Passes a single turn around among owners, however many jobs each of them has.

    >>> turns = RoundRobin()
    >>> turns.request("first").wait(), turns.request("second").is_set()
    (True, False)
    >>> turns.release()
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: OrderedDict[Hashable, deque[threading.Event]] = OrderedDict()
        self._is_held = False

    def request(self, owner: Hashable) -> threading.Event:
        """Queue for a turn of an owner; the returned event is set when the turn has come."""
        ticket = threading.Event()
        with self._lock:
            self._queues.setdefault(owner, deque()).append(ticket)
            if not self._is_held:
                self._start_next()
        return ticket

    def release(self) -> None:
        """Pass the turn to the next owner in the queue."""
        with self._lock:
            self._start_next()

    def yield_turn(self, owner: Hashable) -> None:
        """Let all other owners have a turn, and wait for the next one."""
        with self._lock:
            if not self._queues:
                return
        ticket = self.request(owner)
        self.release()
        ticket.wait()

    def _start_next(self) -> None:
        self._is_held = bool(self._queues)
        if not self._is_held:
            return
        owner, queue = next(iter(self._queues.items()))
        queue.popleft().set()
        self._queues.move_to_end(owner)
        if not queue:
            del self._queues[owner]

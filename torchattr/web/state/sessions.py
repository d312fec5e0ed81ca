"""Sessions: the pictures and results of each visitor, within bounds of number, memory and time."""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from torchattr.errors import TorchattrError
from torchattr.web.state.buffers import ByteLedger, buffers
from torchattr.web.state.limits import Limits
from torchattr.web.state.stored import StoredItem

T = TypeVar("T", bound=StoredItem)

EXPIRED = (
    "This result has expired. Results are kept for a limited time and within a memory limit; open"
    " the picture or compute the result again."
)

COOKIE_SECONDS = 10.0
"""Time within which a client must return its cookie to keep its session; programs often do not."""

_clock = count()
"""Orders the uses of items across all sessions, for least recently used eviction."""


class ResultExpired(TorchattrError):
    """The item has expired, or never existed in this session."""


class PayloadTooLarge(TorchattrError):
    """An upload or a result is larger than the limit."""


class TooManySessions(TorchattrError):
    """The number of sessions has reached its limit, and all of them are in use.

    Attributes:
        seconds: time until the least recently used one can be replaced.
    """

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


@dataclass
class _Entry:
    item: StoredItem
    sizes: dict[int, int]
    used: int


class Session:
    """The items of one visitor, least recently used first.

    Args:
        limit: memory that it may keep alive, in bytes.
        free: addresses of buffers that stay alive anyway, and are not counted.
        kept: called after an item was stored.

    >>> Session(limit=1000).holds("anything")
    False
    """

    def __init__(
        self, limit: int, free: Iterable[int] = (), kept: Callable[[], None] = lambda: None
    ) -> None:
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._ledger = ByteLedger(free)
        self._limit = limit
        self._kept = kept
        self._lock = threading.Lock()
        self.used = 0.0
        self.visits = 0
        self.returned = False

    @property
    def nbytes(self) -> int:
        """Memory that it keeps alive."""
        return self._ledger.nbytes

    @property
    def oldest(self) -> int | None:
        """Last use of the least recently used item; `None` if there is none."""
        with self._lock:
            return next((entry.used for entry in self._entries.values()), None)

    def keep(self, key: str, item: StoredItem) -> str:
        """Store an item and return its key; drop the least recently used ones beyond the limit.

        Raises:
            PayloadTooLarge: the item alone exceeds the limit.
        """
        sizes = buffers(item)
        size = self._ledger.cost(sizes)
        if size > self._limit:
            raise PayloadTooLarge(
                f"this result takes {size:,} bytes; the limit of a session is {self._limit:,}"
            )
        with self._lock:
            self._drop(key)
            self._entries[key] = _Entry(item, sizes, next(_clock))
            self._ledger.add(sizes)
            while self.nbytes > self._limit:
                self._drop(next(iter(self._entries)))
        self._kept()
        return key

    def drop_oldest(self) -> None:
        """Drop the least recently used item."""
        with self._lock:
            self._drop(next(iter(self._entries), ""))

    def _drop(self, key: str) -> None:
        if key in self._entries:
            self._ledger.remove(self._entries.pop(key).sizes)

    def holds(self, key: str) -> bool:
        return key in self._entries

    def item(self, key: str) -> StoredItem:
        """Return the item of a key, of any type.

        Raises:
            ResultExpired: there is no such item.
        """
        with self._lock:
            if key not in self._entries:
                raise ResultExpired(EXPIRED)
            self._entries.move_to_end(key)
            self._entries[key].used = next(_clock)
            return self._entries[key].item

    def find(self, key: str, cls: type[T]) -> T | None:
        """Return the item of a key if it has this type, or `None`."""
        try:
            return self.get(key, cls)
        except ResultExpired:
            return None

    def get(self, key: str, cls: type[T]) -> T:
        """Return the item of a key, which must have this type.

        Raises:
            ResultExpired: there is no such item.
        """
        item = self.item(key)
        if not isinstance(item, cls):
            raise ResultExpired(EXPIRED)
        return item

    def items(self, cls: type[T]) -> dict[str, T]:
        """Return all items of a type, least recently used first."""
        with self._lock:
            items = {key: entry.item for key, entry in self._entries.items()}
        return {key: item for key, item in items.items() if isinstance(item, cls)}


class Sessions:
    """All sessions, by unguessable keys.

    A session in use is never replaced. At the limit, a new session replaces an empty one, else one
    whose cookie never came back, else the least recently used one if it was idle for long enough.

    Args:
        limits: number of sessions, their duration and memory.
        clock: returns the time in seconds.
        free: addresses of buffers that stay alive anyway, and are not counted.
    """

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
        free: Iterable[int] = (),
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._free = frozenset(free)
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def nbytes(self) -> int:
        """Memory that all of them keep alive."""
        return sum(session.nbytes for session in self._sessions.values())

    def open(self, key: str | None) -> tuple[str, Session]:
        """Return the session of a key, or a new session with a new key.

        Raises:
            TooManySessions: all sessions are in use.
        """
        with self._lock:
            return self._open(key)

    @contextmanager
    def visit(self, key: str | None) -> Iterator[tuple[str, Session]]:
        """Open a session that is in use until the end of the block.

        Raises:
            TooManySessions: all sessions are in use.
        """
        with self._lock:
            key, session = self._open(key)
            session.visits += 1
        try:
            yield key, session
        finally:
            with self._lock:
                session.visits -= 1
                session.used = self._clock()

    def _open(self, key: str | None) -> tuple[str, Session]:
        self._end_idle()
        if key is not None and key in self._sessions:
            self._sessions[key].returned = True
        else:
            self._make_room()
            key = secrets.token_urlsafe(32)
            self._sessions[key] = Session(self._limits.session_bytes, self._free, self._trim)
        session = self._sessions[key]
        session.used = self._clock()
        self._sessions.move_to_end(key)
        return key, session

    def _end_idle(self) -> None:
        for key in self._unused_for(self._limits.idle_seconds):
            del self._sessions[key]

    def _make_room(self) -> None:
        if len(self._sessions) < self._limits.sessions:
            return
        empty = [key for key in self._unused_for(0.0) if not self._sessions[key].nbytes]
        abandoned = [
            key for key in self._unused_for(COOKIE_SECONDS) if not self._sessions[key].returned
        ]
        replaceable = [*empty, *abandoned, *self._unused_for(self._limits.spare_seconds)]
        if not replaceable:
            raise self._too_many()
        del self._sessions[replaceable[0]]

    def _unused_for(self, seconds: float) -> list[str]:
        """Return the keys of sessions unused for so many seconds, least recently used first."""
        latest = self._clock() - seconds
        return [key for key, s in self._sessions.items() if not s.visits and s.used <= latest]

    def _too_many(self) -> TooManySessions:
        since = min((session.used for session in self._sessions.values()), default=self._clock())
        seconds = max(1.0, self._limits.spare_seconds - (self._clock() - since))
        return TooManySessions(
            f"This viewer has {len(self._sessions)} visitors, the most at once. A session becomes"
            f" available when one of them is idle for {self._limits.spare_seconds:g} seconds;"
            f" try again in {math.ceil(seconds)} seconds.",
            seconds,
        )

    def _trim(self) -> None:
        """Drop the least recently used items of all sessions until the total fits."""
        with self._lock:
            while self.nbytes > self._limits.total_bytes:
                ages = [(session.oldest, session) for session in self._sessions.values()]
                filled = [(used, session) for used, session in ages if used is not None]
                min(filled, key=lambda pair: pair[0])[1].drop_oldest()

"""What each visitor has opened and computed, within bounds of memory and time."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from torchattr.errors import TorchattrError
from torchattr.web.items import Item
from torchattr.web.limits import Limits

T = TypeVar("T", bound=Item)


GONE = (
    "That is not held here any more. Results are forgotten after some time, or when a session holds"
    " too much; open the picture or ask for the result once more."
)


class Gone(TorchattrError):
    """Something that is held no more, or never was."""


class TooLarge(TorchattrError):
    """Something that is larger than may be taken in or held."""


class Session:
    """What one visitor holds, the longest unused first.

    >>> Session(limit=1000).holds("anything")
    False
    """

    def __init__(self, limit: int) -> None:
        self._items: OrderedDict[str, Item] = OrderedDict()
        self.nbytes = 0
        self._limit = limit
        self._lock = threading.Lock()
        self.used = 0.0

    def keep(self, key: str, item: Item) -> str:
        """Hold something, and forget what was unused for longest when there is too much.

        Raises:
            TooLarge: it alone is more than a session holds.
        """
        size = item.nbytes
        if size > self._limit:
            raise TooLarge(
                f"this result has {size:,} bytes, more than the {self._limit:,} that a session"
                " holds"
            )
        with self._lock:
            self._drop(key)
            self._items[key] = item
            self.nbytes += size
            while self.nbytes > self._limit:
                self._drop(next(iter(self._items)))
        return key

    def _drop(self, key: str) -> None:
        if key in self._items:
            self.nbytes -= self._items.pop(key).nbytes

    def holds(self, key: str) -> bool:
        return key in self._items

    def any(self, key: str) -> Item:
        """Give what is held under a key, of whatever kind.

        Raises:
            Gone: nothing is.
        """
        with self._lock:
            if key not in self._items:
                raise Gone(GONE)
            self._items.move_to_end(key)
            return self._items[key]

    def find(self, key: str, kind: type[T]) -> T | None:
        """Give something of a kind, or nothing."""
        try:
            return self.get(key, kind)
        except Gone:
            return None

    def get(self, key: str, kind: type[T]) -> T:
        """Give something of a kind.

        Raises:
            Gone: there is nothing of that kind under this key.
        """
        item = self.any(key)
        if not isinstance(item, kind):
            raise Gone(GONE)
        return item

    def items(self, kind: type[T]) -> dict[str, T]:
        """Give all of a kind, the longest unused first."""
        with self._lock:
            return {key: one for key, one in self._items.items() if isinstance(one, kind)}


class Sessions:
    """All sessions, by numbers that cannot be guessed."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, key: str | None) -> tuple[str, Session]:
        """Give the session of a key; a new one with a new key if there is none."""
        with self._lock:
            self._forget_idle()
            if key is None or key not in self._sessions:
                key = secrets.token_urlsafe(32)
                self._sessions[key] = Session(self._limits.session_bytes)
            session = self._sessions[key]
            session.used = self._clock()
            self._sessions.move_to_end(key)
            while len(self._sessions) > self._limits.sessions:
                del self._sessions[self._least_missed()]
            return key, session

    def __len__(self) -> int:
        return len(self._sessions)

    def _least_missed(self) -> str:
        """Give the oldest session that holds nothing, or else the oldest; the newest is in use."""
        older = list(self._sessions)[:-1]
        return next((key for key in older if not self._sessions[key].nbytes), older[0])

    def _forget_idle(self) -> None:
        oldest = self._clock() - self._limits.idle_seconds
        for key in [key for key, one in self._sessions.items() if one.used < oldest]:
            del self._sessions[key]

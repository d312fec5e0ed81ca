"""What each visitor has opened and computed, within bounds of number, memory and time."""

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
from torchattr.web.state.buffers import Ledger, buffers
from torchattr.web.state.limits import Limits
from torchattr.web.state.stored import Item

T = TypeVar("T", bound=Item)

GONE = (
    "That is not held here any more. Results are forgotten after some time, or when a session holds"
    " too much; open the picture or ask for the result once more."
)

LOST = 10.0
"""Seconds after which a session is given up whose cookie never came back: programs keep none."""

_clock = count()
"""Counts uses, so that what was unused for longest is known among all sessions."""


class Gone(TorchattrError):
    """Something that is held no more, or never was."""


class TooLarge(TorchattrError):
    """Something that is larger than may be taken in or held."""


class Crowded(TorchattrError):
    """There are as many sessions as there may be, and all of them are in use.

    Attributes:
        seconds: after how long one of them makes room, if nobody uses it again.
    """

    def __init__(self, sentence: str, seconds: float) -> None:
        super().__init__(sentence)
        self.seconds = seconds


@dataclass
class _Held:
    item: Item
    pieces: dict[int, int]
    used: int


class Session:
    """What one visitor holds, the longest unused first.

    Args:
        limit: bytes that it may keep alive.
        free: addresses of memory that is kept alive in any case.
        kept: called after something was kept.

    >>> Session(limit=1000).holds("anything")
    False
    """

    def __init__(
        self, limit: int, free: Iterable[int] = (), kept: Callable[[], None] = lambda: None
    ) -> None:
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._ledger = Ledger(free)
        self._limit = limit
        self._kept = kept
        self._lock = threading.Lock()
        self.used = 0.0
        self.visits = 0
        self.returned = False

    @property
    def nbytes(self) -> int:
        """Bytes that it keeps alive."""
        return self._ledger.nbytes

    @property
    def oldest(self) -> int | None:
        """When that which was unused for longest was used; `None` if it holds nothing."""
        with self._lock:
            return next((held.used for held in self._held.values()), None)

    def keep(self, key: str, item: Item) -> str:
        """Hold something, and forget what was unused for longest when there is too much.

        Raises:
            TooLarge: it alone is more than a session holds.
        """
        pieces = buffers(item)
        size = self._ledger.cost(pieces)
        if size > self._limit:
            raise TooLarge(
                f"this result has {size:,} bytes, more than the {self._limit:,} that a session"
                " holds"
            )
        with self._lock:
            self._drop(key)
            self._held[key] = _Held(item, pieces, next(_clock))
            self._ledger.add(pieces)
            while self.nbytes > self._limit:
                self._drop(next(iter(self._held)))
        self._kept()
        return key

    def forget_oldest(self) -> None:
        """Forget what was unused for longest."""
        with self._lock:
            self._drop(next(iter(self._held), ""))

    def _drop(self, key: str) -> None:
        if key in self._held:
            self._ledger.take(self._held.pop(key).pieces)

    def holds(self, key: str) -> bool:
        return key in self._held

    def any(self, key: str) -> Item:
        """Give what is held under a key, of whatever kind.

        Raises:
            Gone: nothing is.
        """
        with self._lock:
            if key not in self._held:
                raise Gone(GONE)
            self._held.move_to_end(key)
            self._held[key].used = next(_clock)
            return self._held[key].item

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
            held = {key: one.item for key, one in self._held.items()}
        return {key: item for key, item in held.items() if isinstance(item, kind)}


class Sessions:
    """All sessions, by numbers that cannot be guessed.

    A session that is in use is never given up for another one. One that holds nothing makes room
    first, then one whose cookie never came back, then the longest unused one if it was idle for
    long enough.

    Args:
        limits: how many, for how long, and how much they hold.
        clock: gives the time in seconds.
        free: addresses of memory that is kept alive in any case.
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
        """Bytes that all of them hold."""
        return sum(session.nbytes for session in self._sessions.values())

    def open(self, key: str | None) -> tuple[str, Session]:
        """Give the session of a key; a new one with a new key if there is none.

        Raises:
            Crowded: there is no room for a new one.
        """
        with self._lock:
            return self._open(key)

    @contextmanager
    def visit(self, key: str | None) -> Iterator[tuple[str, Session]]:
        """Open a session that stays in use until the end of the block.

        Raises:
            Crowded: there is no room for a new one.
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
        self._forget_idle()
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

    def _forget_idle(self) -> None:
        for key in self._unused_for(self._limits.idle_seconds):
            del self._sessions[key]

    def _make_room(self) -> None:
        if len(self._sessions) < self._limits.sessions:
            return
        empty = [key for key in self._unused_for(0.0) if not self._sessions[key].nbytes]
        lost = [key for key in self._unused_for(LOST) if not self._sessions[key].returned]
        spare = [*empty, *lost, *self._unused_for(self._limits.spare_seconds)]
        if not spare:
            raise self._crowded()
        del self._sessions[spare[0]]

    def _unused_for(self, seconds: float) -> list[str]:
        """Give the sessions that nobody used for so long, the longest unused first."""
        latest = self._clock() - seconds
        return [key for key, one in self._sessions.items() if not one.visits and one.used <= latest]

    def _crowded(self) -> Crowded:
        since = min((one.used for one in self._sessions.values()), default=self._clock())
        seconds = max(1.0, self._limits.spare_seconds - (self._clock() - since))
        return Crowded(
            f"This viewer has {len(self._sessions)} visitors, as many as it takes at once. A place"
            f" becomes free when one of them is idle for {self._limits.spare_seconds:g} seconds;"
            f" try again in {math.ceil(seconds)} seconds.",
            seconds,
        )

    def _trim(self) -> None:
        """Forget what was unused for longest, whoever holds it, until all fits."""
        with self._lock:
            while self.nbytes > self._limits.total_bytes:
                found = [(one.oldest, one) for one in self._sessions.values()]
                held = [(used, one) for used, one in found if used is not None]
                min(held, key=lambda pair: pair[0])[1].forget_oldest()

"""How far a run has come, in this process and in all."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

_SHORTEST = 1e-9


@dataclass(frozen=True)
class RunProgress:
    """How far a run has come since this process began.

    Attributes:
        done: pictures that this process has explained.
        of: pictures that are left to it, as far as it knows: those of its rank, or of all.
        in_all: pictures of shards that are done, by whichever process, in this run or before.
        total: pictures of the data set.
        seconds: since the process began.
        in_all_since: pictures of shards that were done since then, by all processes.
        is_over: whether this process has nothing more to do.

    >>> print(RunProgress(20, 50, 40, 100, 2.0, 40))
    20 of 50 pictures, 10.0/s, 3 s left; in all 40 of 100 pictures, 20.0/s, 3 s left
    >>> print(RunProgress(0, 0, 100, 100, 2.0, 0, is_over=True))
    nothing left to do: all 100 pictures are done already
    """

    done: int
    of: int
    in_all: int
    total: int
    seconds: float
    in_all_since: int
    is_over: bool = False

    @property
    def rate(self) -> float:
        """Pictures a second, in this process."""
        return self.done / max(self.seconds, _SHORTEST)

    @property
    def rate_in_all(self) -> float:
        """Pictures a second, in all processes."""
        return max(self.in_all_since / max(self.seconds, _SHORTEST), self.rate)

    def __str__(self) -> str:
        if self.is_over and not self.done and not self.of:
            return f"nothing left to do{self._by_others}"
        own = _line(self.done, self.of, self.rate, self.of - self.done)
        left = self.total - self.in_all
        return f"{own}; in all {_line(self.in_all, self.total, self.rate_in_all, left)}"

    @property
    def _by_others(self) -> str:
        """What is done of the data set where this process had nothing to do."""
        if self.in_all < self.total:
            return f" for this process; in all {self.in_all} of {self.total} pictures are done"
        of = "the picture is" if self.total == 1 else f"all {self.total} pictures are"
        return f": {of} done already"


Watch = Callable[[RunProgress], None]


def _line(done: int, of: int, rate: float, left: int) -> str:
    """Word a rate and what is left.

    >>> _line(20, 50, 10.0, 30)
    '20 of 50 pictures, 10.0/s, 3 s left'
    """
    remaining = f", {_duration(left / rate)} left" if rate > 0 and left > 0 else ""
    return f"{done} of {of} pictures, {rate:.1f}/s{remaining}"


def _duration(seconds: float) -> str:
    """Word a duration in its two largest units.

    >>> _duration(59.6), _duration(61), _duration(3 * 86400 + 7200)
    ('1 min', '1 min 1 s', '3 d 2 h')
    """
    left, words = round(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            words.append(f"{count} {unit}")
    return " ".join(words[:2]) or "0 s"


class StderrProgress:
    """Writes progress to the error stream: one line that renews itself, or a line now and then.

    Args:
        name: the process, where there are several.
        stream: the stream; the present `sys.stderr` by default.
    """

    def __init__(self, name: str = "", stream: TextIO | None = None) -> None:
        self._name = f"{name}: " if name else ""
        self._stream = sys.stderr if stream is None else stream
        self._next = 0.0
        self._width = 0

    def __call__(self, progress: RunProgress) -> None:
        now, renews = time.monotonic(), self._stream.isatty()
        if now < self._next and not progress.is_over:
            return
        self._next = now + (1.0 if renews else 30.0)
        line = f"{self._name}{progress}"
        padded, self._width = line.ljust(self._width), len(line)
        end = "\n" if progress.is_over or not renews else ""
        self._stream.write(f"\r{padded}{end}" if renews else f"{line}\n")
        self._stream.flush()

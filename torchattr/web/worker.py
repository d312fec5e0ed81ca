"""One worker for the model: whatever runs it waits in line."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from torchattr.errors import CoverageWarning, TorchattrError, TorchattrWarning

T = TypeVar("T")


class Busy(TorchattrError):
    """Too many requests wait for the model."""


class Abandoned(TorchattrError):
    """Whoever asked has gone before the turn came."""


@dataclass(frozen=True)
class Done(Generic[T]):
    """A result, the library's warnings on the way, and how long it took."""

    value: T
    notes: tuple[str, ...]
    seconds: float


class Worker:
    """Runs one job after another in a thread of its own.

    Models are not made for several threads at once on one processor, and the filters of warnings
    belong to the whole process.

    Args:
        waiting: how many jobs may wait.
    """

    def __init__(self, waiting: int) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="torchattr-model")
        self._most = waiting
        self._waiting = 0

    async def run(
        self, job: Callable[[], T], gone: Callable[[], Awaitable[bool]] | None = None
    ) -> Done[T]:
        """Wait for the turn, and give the result.

        Args:
            job: what is run.
            gone: tells whether whoever asked has gone; the job is then not begun.

        Raises:
            Busy: too many wait already.
            Abandoned: whoever asked has gone.
        """
        if self._waiting > self._most:
            raise Busy("The model is busy with other requests; try again in a moment.")
        self._waiting += 1
        try:
            turn = self._pool.submit(noted, job)
            done = asyncio.wrap_future(turn)
            while not (await asyncio.wait({done}, timeout=0.5))[0]:
                # What runs already cannot be stopped, and is waited for.
                if gone is not None and await gone() and turn.cancel():
                    raise Abandoned("The request was given up.")
            return done.result()
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def noted(job: Callable[[], T]) -> Done[T]:
    """Run a job and collect the package's warnings; coverage is told in another way."""
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TorchattrWarning)
        warnings.simplefilter("ignore", CoverageWarning)
        value = job()
    notes = dict.fromkeys(
        str(one.message) for one in caught if issubclass(one.category, TorchattrWarning)
    )
    return Done(value, tuple(notes), time.perf_counter() - start)

"""One worker for the model: jobs share it step by step, and end when nobody wants them."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from torchattr.core.stepping import Cancelled, stepping
from torchattr.core.warn import listening
from torchattr.errors import CoverageWarning, InputError, TorchattrError, TorchattrWarning
from torchattr.web.state.turns import Turns
from torchattr.web.wording import in_viewer

T = TypeVar("T")

ABANDONED = "The request was cancelled."

POLL = 0.25
"""Seconds between two looks at whether whoever asked is still there."""


class Busy(TorchattrError):
    """Too many requests wait for the model."""


class Abandoned(TorchattrError):
    """What was asked for was cancelled, or whoever asked has gone."""


class NoJob(TorchattrError):
    """There is no such job on its way."""


@dataclass(frozen=True)
class Done(Generic[T]):
    """A result, the library's warnings on the way, and how long it took."""

    value: T
    notes: tuple[str, ...]
    seconds: float


@dataclass(eq=False)
class Job:
    """Something that somebody asked of the model.

    Attributes:
        owner: who asked.
        key: what the owner knows it by.
        title: what it is.
        steps: how many it has begun.
        begun: whether its turn has come once.
    """

    owner: Hashable
    key: str
    title: str
    steps: int = 0
    begun: bool = False
    started: float = field(default_factory=time.monotonic)
    _unwanted: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        self._unwanted.set()

    @property
    def cancelled(self) -> bool:
        return self._unwanted.is_set()

    def check(self) -> None:
        """End the job here if it is cancelled."""
        if self.cancelled:
            raise Cancelled

    def described(self) -> dict[str, Any]:
        seconds = round(time.monotonic() - self.started, 3)
        return {
            "job": self.key,
            "title": self.title,
            "begun": self.begun,
            "steps": self.steps,
            "seconds": seconds,
        }


class Worker:
    """Runs jobs in threads of which one at a time has the turn, for one step.

    Models are not made for several threads at once on one processor. A job without steps keeps the
    turn until it is done.

    Args:
        waiting: how many jobs may wait while one runs.
        waiting_each: how many jobs one owner may have on the way; `None` for as many as there are.
    """

    def __init__(self, waiting: int, waiting_each: int | None = None) -> None:
        self._most = waiting + 1
        self._most_each = waiting_each or self._most
        self._pool = ThreadPoolExecutor(self._most, thread_name_prefix="torchattr-model")
        self._turns = Turns()
        self._jobs: dict[tuple[Hashable, str], Job] = {}
        self._lock = threading.Lock()
        self._closed = False

    async def run(
        self,
        work: Callable[[], T],
        gone: Callable[[], Awaitable[bool]] | None = None,
        *,
        owner: Hashable = None,
        key: str | None = None,
        title: str = "",
    ) -> Done[T]:
        """Wait for the result.

        Args:
            work: what is run.
            gone: tells whether whoever asked has gone; the job then ends at its next step.
            owner: who asked; owners have their turns in rotation.
            key: what the owner will cancel it by; `None` makes one up.
            title: what it is.

        Raises:
            Busy: too many wait already.
            InputError: the owner has a job of that key on the way.
            Abandoned: it was cancelled, or whoever asked has gone.
        """
        job = Job(owner, key or secrets.token_hex(8), title)
        done = asyncio.wrap_future(self._begin(job, work))
        # A fault that nobody waits for any more is nobody's.
        done.add_done_callback(lambda one: one.cancelled() or one.exception())
        try:
            while not (await asyncio.wait({done}, timeout=POLL))[0]:
                if job.cancelled or (gone is not None and await gone()):
                    raise Abandoned(ABANDONED)
            return done.result()
        finally:
            job.cancel()

    def jobs(self, owner: Hashable) -> list[Job]:
        """Return the jobs of an owner, in the order in which they were asked for."""
        with self._lock:
            return [job for job in self._jobs.values() if job.owner == owner]

    def cancel(self, owner: Hashable, key: str) -> Job:
        """End a job of an owner at its next step.

        Raises:
            NoJob: there is none.
        """
        with self._lock:
            job = self._jobs.get((owner, key))
        if job is None:
            raise NoJob("No request of that name is on its way; it may have been answered already.")
        job.cancel()
        return job

    def close(self) -> None:
        """Take no more jobs, and end all others at their next step."""
        with self._lock:
            self._closed = True
            for job in self._jobs.values():
                job.cancel()
            self._pool.shutdown(wait=False)

    def _begin(self, job: Job, work: Callable[[], T]) -> Future[Done[T]]:
        with self._lock:
            self._check(job)
            self._jobs[job.owner, job.key] = job
            # Whoever asks first has the turn first, whichever thread is quicker.
            return self._pool.submit(self._in_turn, job, work, self._turns.ask(job.owner))

    def _check(self, job: Job) -> None:
        own = sum(one.owner == job.owner for one in self._jobs.values())
        if self._closed:
            raise Busy("The viewer is about to end, so it begins nothing any more.")
        if len(self._jobs) >= self._most:
            raise Busy(
                f"The model is busy: {self._most} requests are on their way, as many as may. Try"
                " again in a moment."
            )
        if own >= self._most_each:
            raise Busy(
                f"You have {own} requests on their way, as many as one visitor may have. Wait for"
                " one, or cancel it."
            )
        if (job.owner, job.key) in self._jobs:
            raise InputError(f"a job called {job.key!r} is on its way already; name another")

    def _in_turn(self, job: Job, work: Callable[[], T], ticket: threading.Event) -> Done[T]:
        ticket.wait()
        try:
            job.check()
            job.begun = True
            with stepping(lambda: self._between(job)):
                return noted(work)
        except Cancelled:
            raise Abandoned(ABANDONED) from None
        finally:
            self._leave(job)
            self._turns.give()

    def _between(self, job: Job) -> None:
        job.steps += 1
        self._turns.pass_on(job.owner)
        job.check()

    def _leave(self, job: Job) -> None:
        with self._lock:
            del self._jobs[job.owner, job.key]


def noted(work: Callable[[], T]) -> Done[T]:
    """Run something and collect the package's warnings; coverage is told in another way."""
    start, notes = time.perf_counter(), dict[str, None]()

    def note(warning: TorchattrWarning) -> None:
        if not isinstance(warning, CoverageWarning):
            notes[warning.said(in_viewer)] = None

    with listening(note):
        value = work()
    return Done(value, tuple(notes), time.perf_counter() - start)

"""The worker that runs the model: jobs take turns step by step, and can be cancelled."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from torchattr.core.stepping import Cancelled, share_done, stepping
from torchattr.core.warn import listening
from torchattr.errors import CoverageWarning, InputError, TorchattrError, TorchattrWarning
from torchattr.web.state.turns import RoundRobin
from torchattr.web.wording import in_viewer

T = TypeVar("T")

CANCELLED = "The request was cancelled."

POLL = 0.25
"""Seconds between checks whether the client is still connected."""


class WorkerBusy(TorchattrError):
    """Too many jobs are queued."""


class JobCancelled(TorchattrError):
    """The job was cancelled, or its client disconnected."""


class JobNotFound(TorchattrError):
    """No queued or running job has this key."""


@dataclass(frozen=True)
class JobResult(Generic[T]):
    """The result of a job, the warnings raised by it as notes, and its duration."""

    value: T
    notes: tuple[str, ...]
    seconds: float


@dataclass(eq=False)
class Job:
    """A queued or running job.

    Attributes:
        owner: session of the visitor.
        key: its key, unique for an owner.
        title: description.
        steps: number of steps begun.
        begun: whether it has had a turn.
        share: share of its present loop that is done, 0..1; `None` if it counts none.
    """

    owner: Hashable
    key: str
    title: str
    steps: int = 0
    begun: bool = False
    share: float | None = None
    started: float = field(default_factory=time.monotonic)
    _loop: tuple[float, float] = (0.0, 0.0)
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise `Cancelled` if the job was cancelled."""
        if self.cancelled:
            raise Cancelled

    def step(self, share: float | None) -> None:
        """Count a step, before which a share of its loop is done, if that is a counted one."""
        self.steps += 1
        if share is None:
            return
        if self.share is None or share < self.share:
            self._loop = (time.monotonic(), share)
        self.share = share

    @property
    def remaining(self) -> float | None:
        """The seconds that the present loop will still take if it goes on as so far, if known."""
        began, first = self._loop
        if self.share is None or self.share <= first:
            return None
        return (1 - self.share) * (time.monotonic() - began) / (self.share - first)

    def as_json(self) -> dict[str, Any]:
        seconds = round(time.monotonic() - self.started, 3)
        remaining = self.remaining
        return {
            "job": self.key,
            "title": self.title,
            "begun": self.begun,
            "steps": self.steps,
            "seconds": seconds,
            "share": self.share,
            "remaining": None if remaining is None else round(remaining, 1),
        }


class Worker:
    """Runs jobs in threads, of which only one runs at a time, for one step per turn.

    A model need not be safe for several threads. A job without steps keeps its turn to the end.

    Args:
        waiting: number of jobs that may wait while one runs.
        waiting_each: number of queued and running jobs of one owner; default: no separate limit.
    """

    def __init__(self, waiting: int, waiting_each: int | None = None) -> None:
        self._limit = waiting + 1
        self._limit_each = waiting_each or self._limit
        self._pool = ThreadPoolExecutor(self._limit, thread_name_prefix="torchattr-model")
        self._turns = RoundRobin()
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
    ) -> JobResult[T]:
        """Run a job and return its result.

        Args:
            work: the function to run.
            gone: returns whether the client has disconnected; the job then ends at its next step.
            owner: session of the visitor; owners take turns.
            key: key by which the owner can cancel it; default: a random one.
            title: description.

        Raises:
            WorkerBusy: too many jobs are queued.
            InputError: the owner has a queued or running job of this key.
            JobCancelled: the job was cancelled, or the client disconnected.
        """
        job = Job(owner, key or secrets.token_hex(8), title)
        done = asyncio.wrap_future(self._begin(job, work))
        # Retrieves the exception of an abandoned job, which asyncio would report otherwise.
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        try:
            while not (await asyncio.wait({done}, timeout=POLL))[0]:
                if job.cancelled or (gone is not None and await gone()):
                    raise JobCancelled(CANCELLED)
            return done.result()
        finally:
            job.cancel()

    def jobs(self, owner: Hashable) -> list[Job]:
        """Return the queued and running jobs of an owner, in the order of submission."""
        with self._lock:
            return [job for job in self._jobs.values() if job.owner == owner]

    def cancel(self, owner: Hashable, key: str) -> Job:
        """Cancel a job of an owner; it ends at its next step.

        Raises:
            JobNotFound: there is no such job.
        """
        with self._lock:
            job = self._jobs.get((owner, key))
        if job is None:
            raise JobNotFound("There is no such job; it may have finished.")
        job.cancel()
        return job

    def close(self) -> None:
        """Cancel all jobs and accept no more."""
        with self._lock:
            self._closed = True
            for job in self._jobs.values():
                job.cancel()
            self._pool.shutdown(wait=False)

    def _begin(self, job: Job, work: Callable[[], T]) -> Future[JobResult[T]]:
        with self._lock:
            self._check(job)
            self._jobs[job.owner, job.key] = job
            # Requested here, not in the thread: turns follow the order of submission.
            return self._pool.submit(self._in_turn, job, work, self._turns.request(job.owner))

    def _check(self, job: Job) -> None:
        own = sum(other.owner == job.owner for other in self._jobs.values())
        if self._closed:
            raise WorkerBusy("The viewer is shutting down.")
        if len(self._jobs) >= self._limit:
            raise WorkerBusy(
                f"The model is busy: {self._limit} jobs are queued, the most at once. Try again"
                " in a moment."
            )
        if own >= self._limit_each:
            raise WorkerBusy(
                f"You have {own} jobs in progress, the most for one visitor. Wait for one to"
                " finish, or cancel it."
            )
        if (job.owner, job.key) in self._jobs:
            raise InputError(f"job {job.key!r} is already in progress; choose another key")

    def _in_turn(self, job: Job, work: Callable[[], T], ticket: threading.Event) -> JobResult[T]:
        ticket.wait()
        try:
            job.check()
            job.begun = True
            with stepping(lambda: self._between(job)):
                return noted(work)
        except Cancelled:
            raise JobCancelled(CANCELLED) from None
        finally:
            self._leave(job)
            self._turns.release()

    def _between(self, job: Job) -> None:
        job.step(share_done())
        self._turns.yield_turn(job.owner)
        job.check()

    def _leave(self, job: Job) -> None:
        with self._lock:
            del self._jobs[job.owner, job.key]


def noted(work: Callable[[], T]) -> JobResult[T]:
    """Run a job and collect the package's warnings, except on coverage, which has its own note."""
    start, notes = time.perf_counter(), dict[str, None]()

    def note(warning: TorchattrWarning) -> None:
        if not isinstance(warning, CoverageWarning):
            notes[warning.said(in_viewer)] = None

    with listening(note):
        value = work()
    return JobResult(value, tuple(notes), time.perf_counter() - start)

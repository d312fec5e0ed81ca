"""Jobs run in turns, each with its own notes, and end when cancelled."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from torchattr.core.stepping import counted, step
from torchattr.core.warn import warn
from torchattr.errors import CoverageWarning, InputError, LayerChoiceWarning
from torchattr.web.state.worker import Job, JobCancelled, JobNotFound, Worker, WorkerBusy


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker(waiting=3)
    yield made
    made.close()


def test_jobs_run_one_after_another_in_their_order(worker: Worker) -> None:
    running, seen = [], []

    def job(number: int) -> int:
        running.append(number)
        time.sleep(0.02)
        seen.append(list(running))
        running.remove(number)
        return number

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(worker.run(lambda n=n: job(n)) for n in range(4)))

    assert [done.value for done in asyncio.run(all_of_them())] == [0, 1, 2, 3]
    assert seen == [[0], [1], [2], [3]]


def test_more_than_may_wait_are_turned_away(worker: Worker) -> None:
    gate = threading.Event()

    async def crowd() -> list[Any]:
        jobs = [asyncio.ensure_future(worker.run(lambda: gate.wait(5))) for _ in range(6)]
        await asyncio.sleep(0.05)
        gate.set()
        return await asyncio.gather(*jobs, return_exceptions=True)

    found = asyncio.run(crowd())
    assert sum(isinstance(one, WorkerBusy) for one in found) == 2
    assert asyncio.run(worker.run(lambda: 5)).value == 5


def test_a_job_whose_asker_has_gone_is_not_begun(worker: Worker) -> None:
    gate, ran = threading.Event(), []

    async def gone() -> bool:
        return True

    async def two() -> Any:
        first = asyncio.ensure_future(worker.run(lambda: gate.wait(5)))
        await asyncio.sleep(0.02)
        with pytest.raises(JobCancelled):
            await worker.run(lambda: ran.append(1), gone)
        gate.set()
        await first

    asyncio.run(two())
    assert ran == []


def test_faults_reach_the_asker_and_the_next_job_runs(worker: Worker) -> None:
    with pytest.raises(ZeroDivisionError):
        asyncio.run(worker.run(lambda: 1 / 0))
    assert asyncio.run(worker.run(lambda: 7)).value == 7


def test_warnings_become_notes_each_once(worker: Worker) -> None:
    def job() -> None:
        for _ in range(2):
            warn("a layer was taken", LayerChoiceWarning)
        warn("told in another way", CoverageWarning)

    done = asyncio.run(worker.run(job))
    assert done.notes == ("a layer was taken",)
    assert asyncio.run(worker.run(lambda: None)).notes == ()


class Trail:
    """Jobs that record each of their steps."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.ended: list[str] = []

    def job(self, name: str, steps: int) -> Callable[[], str]:
        def run() -> str:
            try:
                for _ in range(steps):
                    step()
                    self.seen.append(name)
                return name
            finally:
                self.ended.append(name)

        return run


def together(worker: Worker, *asked: tuple[str, str, Callable[[], Any]]) -> list[Any]:
    """Run jobs that are submitted together while the worker is busy with another one."""
    gate = threading.Event()

    async def all_of_them() -> list[Any]:
        first = asyncio.ensure_future(worker.run(lambda: gate.wait(5), owner="first"))
        await asyncio.sleep(0.02)
        rest = [
            asyncio.ensure_future(worker.run(work, owner=owner, key=key))
            for owner, key, work in asked
        ]
        await asyncio.sleep(0.02)
        gate.set()
        await first
        return await asyncio.gather(*rest, return_exceptions=True)

    return asyncio.run(all_of_them())


def test_a_short_job_need_not_wait_for_the_end_of_a_long_one(worker: Worker) -> None:
    trail = Trail()
    done = together(
        worker, ("a", "long", trail.job("long", 50)), ("b", "short", trail.job("short", 3))
    )
    assert [one.value for one in done] == ["long", "short"]
    assert trail.ended == ["short", "long"]
    assert trail.seen[:6] == ["long", "short"] * 3 or trail.seen[:6] == ["short", "long"] * 3


def test_a_visitor_with_many_jobs_has_no_more_turns_than_another(worker: Worker) -> None:
    trail = Trail()
    many = [("a", f"a{n}", trail.job("a", 20)) for n in range(2)]
    together(worker, *many, ("b", "b", trail.job("b", 20)))
    while_both = trail.seen[: len(trail.seen) - trail.seen[::-1].index("b")]
    assert abs(while_both.count("a") - while_both.count("b")) <= 2


def test_jobs_of_one_visitor_take_turns_as_well(worker: Worker) -> None:
    trail = Trail()
    together(worker, ("a", "1", trail.job("long", 40)), ("a", "2", trail.job("short", 2)))
    assert trail.ended == ["short", "long"]


def test_only_one_job_runs_at_any_time() -> None:
    worker, running, most = Worker(waiting=9), [0], [0]

    def job() -> None:
        for _ in range(10):
            running[0] += 1
            most[0] = max(most[0], running[0])
            time.sleep(0.0005)
            running[0] -= 1
            step()

    try:
        together(worker, *((f"{n % 3}", f"{n}", job) for n in range(8)))
    finally:
        worker.close()
    assert most == [1]


def cancelled(worker: Worker, steps: int) -> tuple[list[Any], Trail]:
    """Cancel a job of `a` among two others, all of them in progress."""
    trail, reached = Trail(), threading.Event()

    def job() -> None:
        for number in range(steps):
            step()
            trail.seen.append("endless")
            if number == 3:
                reached.set()
            time.sleep(0.001)

    async def both() -> list[Any]:
        jobs = [
            asyncio.ensure_future(worker.run(job, owner="a", key="endless", title="Long")),
            asyncio.ensure_future(worker.run(trail.job("b", 9), owner="b", key="endless")),
        ]
        await asyncio.get_running_loop().run_in_executor(None, reached.wait, 5)
        worker.cancel("a", "endless")
        return await asyncio.gather(*jobs, return_exceptions=True)

    return asyncio.run(both()), trail


def test_a_job_that_runs_is_ended_at_its_next_step_and_the_others_go_on(worker: Worker) -> None:
    found, trail = cancelled(worker, 10**6)
    assert isinstance(found[0], JobCancelled)
    assert "cancelled" in str(found[0])
    assert found[1].value == "b"
    count = trail.seen.count("endless")
    time.sleep(0.05)
    assert count <= trail.seen.count("endless") <= count + 1 < 2000
    assert asyncio.run(worker.run(lambda: 5)).value == 5
    assert worker.jobs("a") == []


def test_nobody_cancels_the_jobs_of_others(worker: Worker) -> None:
    gate = threading.Event()

    async def run() -> Any:
        job = asyncio.ensure_future(worker.run(lambda: gate.wait(5), owner="a", key="mine"))
        await asyncio.sleep(0.02)
        for owner, key in (("b", "mine"), ("a", "other"), (None, "mine")):
            with pytest.raises(JobNotFound):
                worker.cancel(owner, key)
        gate.set()
        return await job

    assert asyncio.run(run()).value is True


def long_job(seen: list[int]) -> Callable[[], None]:
    """Return a job of many steps, each of which leaves a mark."""

    def job() -> None:
        while len(seen) < 10**5:
            step()
            seen.append(1)
            time.sleep(0.001)

    return job


def test_a_job_whose_asker_goes_while_it_runs_is_ended(worker: Worker) -> None:
    seen: list[int] = []

    async def gone() -> bool:
        return len(seen) > 5

    with pytest.raises(JobCancelled):
        asyncio.run(worker.run(long_job(seen), gone))
    time.sleep(0.05)
    count = len(seen)
    time.sleep(0.05)
    assert len(seen) == count < 5000


def test_a_question_that_is_dropped_ends_its_job(worker: Worker) -> None:
    seen: list[int] = []

    async def dropped() -> None:
        await asyncio.wait_for(worker.run(long_job(seen)), 0.1)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(dropped())
    time.sleep(0.05)
    assert worker.jobs(None) == []


def test_one_visitor_cannot_take_all_places() -> None:
    worker, gate = Worker(waiting=5, waiting_each=2), threading.Event()

    async def crowd() -> list[Any]:
        jobs = [
            asyncio.ensure_future(worker.run(lambda: gate.wait(5), owner=owner))
            for owner in ("a", "a", "a", "b", "a")
        ]
        await asyncio.sleep(0.05)
        gate.set()
        return await asyncio.gather(*jobs, return_exceptions=True)

    try:
        found = asyncio.run(crowd())
    finally:
        worker.close()
    assert [isinstance(one, WorkerBusy) for one in found] == [False, False, True, False, True]
    assert "You have 2 jobs" in str(found[2])


def test_a_name_is_given_once_at_a_time(worker: Worker) -> None:
    gate = threading.Event()
    found = together(
        worker, ("a", "x", lambda: gate.wait(0.1)), ("a", "x", int), ("b", "x", lambda: gate.set())
    )
    assert isinstance(found[1], InputError)
    assert not isinstance(found[2], Exception)
    assert asyncio.run(worker.run(lambda: 3, owner="a", key="x")).value == 3


def test_a_worker_that_is_closed_ends_its_jobs_and_takes_no_more() -> None:
    worker, seen = Worker(waiting=3), []

    async def closed() -> list[Any]:
        jobs = [asyncio.ensure_future(worker.run(long_job(seen), owner=n)) for n in range(3)]
        await asyncio.sleep(0.05)
        worker.close()
        return await asyncio.gather(*jobs, return_exceptions=True)

    assert all(isinstance(one, JobCancelled) for one in asyncio.run(closed()))
    with pytest.raises(WorkerBusy):
        asyncio.run(worker.run(lambda: 1))


def test_notes_of_jobs_that_run_in_turn_stay_apart(worker: Worker) -> None:
    def job(name: str) -> Callable[[], None]:
        def run() -> None:
            for number in range(4):
                step()
                warn(f"{name} {number}", LayerChoiceWarning)

        return run

    one, other = together(worker, ("a", "1", job("one")), ("b", "2", job("other")))
    assert one.notes == tuple(f"one {n}" for n in range(4))
    assert other.notes == tuple(f"other {n}" for n in range(4))


def test_a_job_reports_its_share_and_what_remains(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("torchattr.web.state.worker.time.monotonic", lambda: now[0])
    reports = []

    def job() -> None:
        (own,) = worker.jobs("me")
        step()
        reports.append(own.as_json())
        for seconds in (2.0, 5.0):
            with counted(4) as begin:
                for number in range(4):
                    begin(number, number + 1)
                    reports.append(own.as_json())
                    now[0] += seconds

    asyncio.run(worker.run(job, owner="me", title="long"))
    assert [one["share"] for one in reports] == [None, *(0, 0.25, 0.5, 0.75) * 2]
    assert [one["remaining"] for one in reports] == [
        *(None, None, 6.0, 4.0, 2.0),
        *(None, 15.0, 10.0, 5.0),
    ]


def test_a_job_that_does_not_count_promises_nothing() -> None:
    job = Job("me", "key", "title")
    job.step(None)
    assert (job.steps, job.share, job.remaining) == (1, None, None)

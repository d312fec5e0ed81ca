"""One job after another, with its own notes, and no work for those who have gone."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from torchattr.errors import CoverageWarning, LayerChoiceWarning, warn
from torchattr.web.worker import Abandoned, Busy, Worker


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
    assert sum(isinstance(one, Busy) for one in found) == 2
    assert asyncio.run(worker.run(lambda: 5)).value == 5


def test_a_job_whose_asker_has_gone_is_not_begun(worker: Worker) -> None:
    gate, ran = threading.Event(), []

    async def gone() -> bool:
        return True

    async def two() -> Any:
        first = asyncio.ensure_future(worker.run(lambda: gate.wait(5)))
        await asyncio.sleep(0.02)
        with pytest.raises(Abandoned):
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

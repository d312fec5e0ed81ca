"""Turns, ratios, rounds, bytes: what the benchmarks count with."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks import contest as contests
from benchmarks.child import largest
from benchmarks.contest import contest
from benchmarks.memory import highest_level, peak_bytes, remembered_bytes
from benchmarks.settings import Settings
from benchmarks.timing import by_turns, extrapolated, milliseconds, ratio, rounds_within

CPU = torch.device("cpu")


def test_runs_by_turns() -> None:
    order: list[str] = []
    times = by_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3, CPU)
    assert order == ["a", "b"] * 3
    assert [len(taken) for taken in times.values()] == [3, 3]


def test_ratio_is_the_median_of_the_rounds() -> None:
    assert ratio({"ours": [1.0, 9.0, 3.0], "peer": [2.0, 3.0, 4.0]}, "ours", "peer") == 0.75


def test_milliseconds_an_image() -> None:
    assert milliseconds([0.1, 0.4, 0.2], 8) == pytest.approx(25)


@pytest.mark.parametrize(("cost", "rounds"), [(0.1, 5), (4.0, 2), (60.0, 1)])
def test_rounds_as_the_budget_allows(cost: float, rounds: int) -> None:
    assert rounds_within(10.0, cost, 5) == rounds


def test_extrapolates_a_fixed_part_and_one_an_item() -> None:
    def time(items: int) -> float:
        return 2.0 + 0.25 * items

    assert extrapolated(time(48), time(16), (16, 48), 512) == pytest.approx(time(512))


def test_counts_each_storage_once_and_none_that_is_known() -> None:
    weight = torch.ones(8, requires_grad=True)
    x = torch.ones(8, requires_grad=True)

    def run() -> Tensor:
        hidden = (x * weight).exp()
        return hidden * hidden[:4].sum()

    # The exponential's output, the sum, and x itself; the weight is known.
    assert remembered_bytes(run, [weight]) == 4 * (8 + 1 + 8)


def test_peak_is_what_lives_at_once() -> None:
    def run() -> Tensor:
        one = torch.ones(1000, dtype=torch.float64)
        two = one + 1
        del one
        return two + 1  # Two at once, three in all.

    assert peak_bytes(run, CPU) == pytest.approx(16000, rel=0.02)


def test_highest_level_follows_the_order_of_time() -> None:
    assert highest_level([(3.0, 3, 8), (1.0, 1, 4), (2.0, 2, -4), (3.0, 2, 5)]) == 13


def test_largest_number_that_fits() -> None:
    tried: list[int] = []

    def fits(number: int) -> bool:
        tried.append(number)
        return number <= 300

    assert 294 <= largest(fits) <= 300
    assert len(tried) < 20
    assert largest(lambda number: False) == 0


def test_a_run_without_memory_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def peak(run: object, device: object) -> int:
        if run is greedy:
            raise torch.OutOfMemoryError
        return 2**20

    def greedy() -> None:
        pytest.fail("it was timed")

    monkeypatch.setattr(contests, "peak_bytes", peak)
    measured = contest({"torchattr": lambda: None, "captum": greedy}, Settings(CPU, quick=True))
    figures = measured.figures("torchattr")
    assert figures["captum"] == {"wrong": "out of memory"}
    assert figures["torchattr"]["peak_mib"] == 1


def test_all_rounds_whatever_they_cost() -> None:
    runs = {"torchattr": lambda: None, "captum": lambda: None}
    assert contest(runs, Settings(CPU, 3, quick=True), all_rounds=True).rounds == 3
    assert contest(runs, Settings(CPU, 3, quick=True)).rounds == 1

"""Turns, ratios and rounds."""

from __future__ import annotations

import pytest
import torch

from benchmarks.measure.timing import by_turns, extrapolated, milliseconds, ratio, rounds_within

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

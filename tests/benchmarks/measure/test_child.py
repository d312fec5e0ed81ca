"""Measurements in child processes."""

from __future__ import annotations

import pytest

from benchmarks.measure import child
from benchmarks.measure.child import largest


def test_a_child_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="invalid choice"):
        child.measured_alone("nonsense")


def test_largest_number_that_fits() -> None:
    tried: list[int] = []

    def fits(number: int) -> bool:
        tried.append(number)
        return number <= 300

    assert 294 <= largest(fits) <= 300
    assert len(tried) < 20
    assert largest(lambda number: False) == 0

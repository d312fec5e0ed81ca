"""Numbers and times in tables."""

from __future__ import annotations

import pytest

from benchmarks.report.text import number, timed


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0"), (1234.4, "1234"), (12.34, "12.3"), (0.876, "0.88"), (0.0123, "0.012")],
)
def test_numbers(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_times_and_reasons() -> None:
    assert timed({"ms": 12.0, "ratio": 0.5}) == "12.0 (0.50)"
    assert timed({"wrong": "one image at a time"}) == "one image at a time"
    assert timed(None) == "–"

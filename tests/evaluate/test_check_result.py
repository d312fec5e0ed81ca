"""The verdict of a method in one sentence, and its table."""

from __future__ import annotations

import torch

from torchattr.evaluate import Check
from torchattr.evaluate.bootstrap import Interval
from torchattr.evaluate.check_result import _aligned
from torchattr.evaluate.findings import BEATS_RANDOM, EDGES, NOISE, found


def interval(value: float) -> Interval:
    mean = torch.tensor(value, dtype=torch.float64)
    return Interval(mean, mean - 0.1, mean + 0.1, torch.tensor(12), 0.95)


def test_the_verdict_says_what_failed_and_what_is_open() -> None:
    findings = [
        found("one", EDGES, interval(0.9)),
        found("one", NOISE, interval(0.55)),
        found("one", BEATS_RANDOM, interval(0.4)),
        found("other", EDGES, interval(float("nan"))),
    ]
    made = Check(findings, {}, None, {}, 12)  # type: ignore[arg-type]
    assert made.verdict("one") == "one: passed 1 of 2; failed: edges; unclear: noise"
    assert made.verdict("other") == "other: undecided"
    assert len(made) == 2


def test_what_is_unclear_does_not_look_like_a_failure() -> None:
    mean = torch.tensor(0.1, dtype=torch.float64)
    four = Interval(mean, mean - 0.1, mean + 0.1, torch.tensor(4), 0.95)
    made = Check([found("one", EDGES, four)], {}, None, {}, 4)  # type: ignore[arg-type]
    assert made.verdict("one") == "one: undecided; unclear: edges"
    assert repr(made) == "Check(4 pictures; passed: one undecided)"


def test_columns_are_aligned() -> None:
    rows = [["method", "edges"], ["a", "0.10 ✓"], ["longer name", "–"]]
    assert _aligned(rows) == [
        "method       edges",
        "───────────────────",
        "a            0.10 ✓",
        "longer name  –",
    ]

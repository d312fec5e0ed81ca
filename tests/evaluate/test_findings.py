"""Verdicts: on which side of a bound the whole interval lies."""

from __future__ import annotations

import pytest
import torch

from torchattr.evaluate.bootstrap import Interval
from torchattr.evaluate.findings import (
    BEATS_EDGES,
    CRITERIA,
    EDGES,
    NOISE,
    Criterion,
    found,
    found_of_layers,
)

NAN = float("nan")


def interval(value: float, low: float, high: float) -> Interval:
    numbers = (torch.tensor(one, dtype=torch.float64) for one in (value, low, high))
    return Interval(*numbers, torch.tensor(12), 0.95)


def curve(values: list[float]) -> Interval:
    means = torch.tensor(values, dtype=torch.float64)
    return Interval(means, means - 0.05, means + 0.05, torch.full((len(means),), 12), 0.95)


@pytest.mark.parametrize(
    ("criterion", "numbers", "verdict", "said"),
    [
        (EDGES, (0.1, 0.0, 0.2), "pass", "it is no edge detector"),
        (EDGES, (0.8, 0.7, 0.9), "fail", "an edge detector would show the same"),
        (EDGES, (0.5, 0.4, 0.6), "unclear", "the interval holds 0.5, so more pictures are needed"),
        (EDGES, (0.8, NAN, NAN), "unclear", "a single picture has no interval"),
        (EDGES, (NAN, NAN, NAN), "undefined", "edges cannot be measured"),
        (NOISE, (0.8, 0.7, 0.9), "pass", "0.80 [0.70, 0.90] similar when noise"),
        (NOISE, (0.1, 0.0, 0.2), "fail", "it is unstable"),
        (BEATS_EDGES, (0.1, 0.01, 0.2), "pass", "it knows more than where the edges are"),
        (BEATS_EDGES, (-0.1, -0.2, -0.01), "fail", "an edge map does better"),
        (BEATS_EDGES, (0.0, 0.0, 0.0), "unclear", "the interval holds 0,"),
    ],
)
def test_verdicts(
    criterion: Criterion, numbers: tuple[float, float, float], verdict: str, said: str
) -> None:
    one = found("saliency", criterion, interval(*numbers))
    assert one.verdict == verdict
    assert one.sentence.startswith("saliency: ")
    assert said in one.sentence
    assert one.as_dict()["verdict"] == verdict


def test_few_pictures_give_no_verdict() -> None:
    few = interval(0.1, 0.05, 0.2)
    few = Interval(few.value, few.low, few.high, torch.tensor(4), 0.95)
    one = found("m", EDGES, few)
    assert one.verdict == "unclear"
    assert one.sentence.endswith("4 pictures are too few to tell")


def test_cells_hold_the_value_and_a_mark() -> None:
    assert found("m", EDGES, interval(0.1, 0.0, 0.2)).cell == "0.10 ✓"
    assert found("m", EDGES, interval(0.9, 0.8, 1.0)).cell == "0.90 ✗"
    assert found("m", BEATS_EDGES, interval(-0.001, -0.2, 0.2)).cell == "0.00 ?"
    assert found("m", BEATS_EDGES, interval(2e-5, 1e-5, 4e-5)).cell == "2.0e-05 ✓"
    assert found("m", EDGES, interval(NAN, NAN, NAN)).cell == "–"


def test_random_layers_are_judged_at_half_and_told_at_the_last_step_that_is_alike() -> None:
    counts = (2, 4, 6, 8)
    alike = found_of_layers("guided", curve([0.95, 0.93, 0.9, 0.2]), counts)
    assert alike.verdict == "fail"
    assert alike.sentence == (
        "guided: 0.90 [0.85, 0.95] similar after the last 6 of 8 layers were randomised: it shows"
        " the picture more than the decision"
    )
    to_the_end = found_of_layers("guided", curve([0.95, 0.93, 0.9, 0.8]), counts)
    assert "after all 8 layers" in to_the_end.sentence
    other = found_of_layers("grad_cam", curve([0.9, 0.1, 0.0, 0.0]), counts)
    assert other.verdict == "pass"
    assert "once the upper half of the layers was randomised" in other.sentence
    assert found_of_layers("m", curve([0.9, 0.52, 0.9, 0.9]), counts).verdict == "unclear"
    assert found_of_layers("m", curve([0.9, NAN, 0.9, 0.9]), counts).verdict == "undefined"


def test_questions_have_distinct_names() -> None:
    assert len({one.key for one in CRITERIA}) == len({one.title for one in CRITERIA}) == 7

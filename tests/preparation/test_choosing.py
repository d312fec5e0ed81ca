"""How a prepared model runs is decided by measurement, with a clock of the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from foldable import Net, network
from helpers import noise
from torch import nn

import torchattr as ta
from torchattr.preparation import choosing
from torchattr.preparation.choosing import (
    SIMPLEST,
    Configuration,
    Decision,
    Option,
    candidates,
    decide,
    options,
)

PICTURES = noise(2, 3, 14, 14)
LAST = Configuration(channels_last=True)
SEARCHED = Configuration(cudnn_benchmark=True)
BOTH = Configuration(channels_last=True, cudnn_benchmark=True)
MEASURED = Option((False, True), "measured")
EVERYTHING = {"channels_last": MEASURED, "cudnn_benchmark": MEASURED}
ORDERS = {"channels_last": MEASURED, "cudnn_benchmark": Option((False,), "not on a GPU")}


class Clock:
    """Stands still but for runs that take a given time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.order: list[Configuration] = []

    def decide(
        self, settings: Any, seconds: Callable[[Configuration], float] | Mapping[Any, float]
    ) -> Decision:
        taken = seconds.__getitem__ if isinstance(seconds, Mapping) else seconds

        def run(one: Configuration) -> None:
            self.order.append(one)
            self.now += taken(one)

        def runs(tried: Sequence[Configuration]) -> dict[Configuration, Callable[[], None]]:
            return {one: lambda one=one: run(one) for one in tried}

        return decide(settings, runs, [PICTURES])


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(choosing.time, "perf_counter", lambda: clock.now)
    return clock


@pytest.mark.parametrize("fastest", [SIMPLEST, LAST, SEARCHED, BOTH])
def test_the_fastest_configuration_is_taken(fastest: Configuration, clock: Clock) -> None:
    decision = clock.decide(EVERYTHING, lambda one: 0.1 if one == fastest else 0.3)
    assert decision.configuration == fastest
    assert set(clock.order) == {SIMPLEST, LAST, SEARCHED, BOTH}
    rows = dict(decision.rows())
    last = "yes" if fastest.channels_last else "no"
    assert rows["channels-last"] == f"{last}: measured"
    for words in (f"{fastest} 100.0 ms", "best of 5, alternating", "(2, 3, 14, 14) on cpu"):
        assert words in rows["measured"]


def test_candidates_run_by_turns(clock: Clock) -> None:
    clock.decide(ORDERS, lambda one: 0.1)
    assert clock.order == [SIMPLEST, LAST] * 6


def test_slow_models_are_not_timed_for_long(clock: Clock) -> None:
    decision = clock.decide(ORDERS, lambda one: 9.0 if len(clock.order) == 4 else 100.0)
    assert "best of 1" in decision.measured
    assert len(clock.order) == 4


def test_what_makes_no_clear_difference_stays_simple(clock: Clock) -> None:
    times = {SIMPLEST: 1.0, LAST: 0.98, SEARCHED: 0.96, BOTH: 0.94}
    assert clock.decide(EVERYTHING, times).configuration == SEARCHED
    assert clock.decide(ORDERS, {SIMPLEST: 1.0, LAST: 0.98}).configuration == SIMPLEST


def test_what_is_decided_or_cannot_matter_is_not_timed() -> None:
    def runs(tried: Any) -> Any:
        raise AssertionError("not to be run")

    for asked, image, has_convolutions, chosen, why in (
        (True, PICTURES, True, LAST, "as requested"),
        ("measure", PICTURES, False, SIMPLEST, "no two-dimensional convolution"),
        ("measure", noise(2, 3), True, SIMPLEST, "no two-dimensional convolution"),
    ):
        decision = decide(options(asked, "measure", [image], has_convolutions), runs, [image])
        assert decision.configuration == chosen
        assert decision.why["channels_last"].startswith(why)
        assert not decision.seconds
    assert candidates(options("measure", True, [PICTURES], True)) == [SEARCHED, BOTH]


@pytest.fixture
def gpu() -> Iterator[Any]:
    """An input on a device that looks like a GPU, and cuDNN's settings, put back afterwards."""

    class Pictures:
        device = torch.device("cuda")

        def dim(self) -> int:
            return 4

    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    yield Pictures()
    cudnn.benchmark, cudnn.deterministic = before


def test_where_algorithms_are_searched_for(gpu: Any) -> None:
    def option_on(image: Any) -> Option:
        return options(False, "measure", [image], True)["cudnn_benchmark"]

    assert option_on(PICTURES) == Option((False,), "not on a GPU")
    assert option_on(gpu) == MEASURED
    torch.backends.cudnn.deterministic = True
    assert "deterministic" in option_on(gpu).why
    torch.backends.cudnn.deterministic = False
    torch.backends.cudnn.benchmark = True
    assert "already set" in option_on(gpu).why


def test_the_default_is_measured() -> None:
    rows = dict(ta.prepare(network(Net), PICTURES).report.rows())
    assert rows["channels-last"] in ("yes: measured", "no: measured")
    assert "contiguous" in rows["measured"]
    assert "channels-last" in rows["measured"]
    assert rows["cudnn.benchmark"] == "no: not on a GPU"
    assert rows["torch.compile"].startswith("no: compiled code hides")
    flat = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
    rows = dict(ta.prepare(flat, torch.randn(2, 4)).report.rows())
    assert rows["channels-last"].startswith("no: no two-dimensional convolution")
    assert "measured" not in rows

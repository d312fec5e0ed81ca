"""Channels-last is decided by measurement, and changes no result."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from foldable import Net, network
from helpers import noise
from torch import nn

import torchattr as ta
from torchattr.preparation import memory_order
from torchattr.preparation.memory_order import Decision, decide, to_channels_last

PICTURES = noise(2, 3, 14, 14)


@pytest.mark.parametrize(("slow", "chosen"), [(True, False), (False, True)])
def test_the_faster_order_is_taken(
    slow: bool, chosen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = {"now": 0.0}

    def run(channels_last: bool) -> None:
        ticks["now"] += 0.3 if channels_last is slow else 0.1

    monkeypatch.setattr(memory_order.time, "perf_counter", lambda: ticks["now"])
    decision = decide("measure", [PICTURES], run, True)
    assert decision.channels_last is chosen
    assert ("3.00" if slow else "0.33") + " of the time" in decision.why
    assert "best of 5" in decision.why
    assert "(2, 3, 14, 14) on cpu" in decision.why


def test_slow_models_are_not_timed_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = {"now": 0.0, "runs": 0}

    def run(channels_last: bool) -> None:
        ticks["now"] += 9 if ticks["runs"] == 3 else 100
        ticks["runs"] += 1

    monkeypatch.setattr(memory_order.time, "perf_counter", lambda: ticks["now"])
    assert "best of 1" in decide("measure", [PICTURES], run, True).why
    assert ticks["runs"] == 4


def test_what_makes_no_clear_difference_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = {"now": 0.0}

    def run(channels_last: bool) -> None:
        ticks["now"] += 0.98 if channels_last else 1.0

    monkeypatch.setattr(memory_order.time, "perf_counter", lambda: ticks["now"])
    assert not decide("measure", [PICTURES], run, True).channels_last


def test_what_has_no_pictures_or_was_decided_is_not_timed() -> None:
    def run(channels_last: bool) -> None:
        raise AssertionError("not to be run")

    assert decide(True, [PICTURES], run, True) == Decision(True, "as requested")
    assert not decide("measure", [PICTURES], run, False).channels_last
    assert not decide("measure", [noise(2, 3)], run, True).channels_last


def test_pictures_alone_are_to_channels_last() -> None:
    assert to_channels_last(PICTURES).is_contiguous(memory_format=torch.channels_last)
    for other in (noise(2, 3), torch.ones(1, 1, 1, 1, dtype=torch.int), "name"):
        assert to_channels_last(other) is other


def test_convolutions_run_on_what_is_to_channels_last() -> None:
    formats: dict[str, list[bool]] = {}
    for chosen in (False, True):
        fast = ta.prepare(network(Net), PICTURES, channels_last=chosen)
        assert fast.report.memory_order.channels_last is chosen
        weight = fast._prepared_forward.folds[0].weights()[0]
        seen: Any = formats.setdefault(str(chosen), [])
        seen.append(weight.is_contiguous(memory_format=torch.channels_last))
        hook = lambda m, a, y, seen=seen: seen.append(  # noqa: E731
            y.is_contiguous(memory_format=torch.channels_last)
        )
        fast.bn2.register_forward_hook(hook)
        fast(PICTURES)
    assert formats == {"False": [False, False], "True": [True, True]}


def test_the_default_is_measured() -> None:
    report = ta.prepare(network(Net), PICTURES).report
    assert "of the time" in report.memory_order.why
    flat = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
    assert (
        "no two-dimensional convolution"
        in ta.prepare(flat, torch.randn(2, 4)).report.memory_order.why
    )

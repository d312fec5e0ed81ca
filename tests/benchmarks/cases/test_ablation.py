"""Incremental ablation against whole forwards: orders, stopping, bounds, rows."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import seeded
from torch import Tensor, nn

from benchmarks.cases import CASES, ablation, incremental
from benchmarks.cases.ablation import SIDES, Outcome, Watched, bound, by_hand, difference
from benchmarks.cases.occlusion_tasks import Windows, occlusion_task
from benchmarks.settings import Settings

CPU = torch.device("cpu")


class Net(nn.Module):
    """Two convolutions, and scores that depend on positions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4 * 12 * 12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x).relu()).relu().flatten(1))


@pytest.fixture
def net() -> nn.Module:
    return seeded(Net, seed=4).eval()


@pytest.mark.parametrize("asked", ["8/8", "8/5", "9 superpixels"])
@pytest.mark.parametrize("side", SIDES)
def test_each_side_asks_the_same(asked: str, side: str, net: nn.Module) -> None:
    """Scores are assigned to the right positions, in any order."""
    made = occlusion_task(asked, 24, CPU)
    right = by_hand(made, net, 2)
    found = SIDES[side](made, net, 2, 0)
    assert len(found.scores) == len(made)
    assert difference(found.scores, right) < 1e-5


def test_another_order_would_be_noticed(net: nn.Module) -> None:
    made = occlusion_task("8/5", 24, CPU)
    found = SIDES["captum"](made, net, 2, 0).scores
    turned = dict(zip(range(len(made)), found.values(), strict=True))
    assert difference(turned, by_hand(made, net, 2)) > 0.01


@pytest.mark.parametrize("side", ["dense", "captum"])
def test_a_side_that_runs_whole_forwards_is_stopped(
    side: str, net: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchattr.methods._perturbation.memory_budget.CPU_ROWS", 16)
    made = occlusion_task("4/2", 24, CPU)
    found = SIDES[side](made, net, 2, 1e-9)
    assert len(made) == 121
    assert len(found.scores) == 32  # Two forwards of 16.
    assert difference(found.scores, by_hand(made, net, 2)) < 1e-5


def test_what_was_stopped_is_extrapolated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fixed part and the clean forward take 3 s, each position 0.5 s."""
    clock = iter([0.0, 2.0, 5.0, 7.0])
    monkeypatch.setattr(ablation, "perf_counter", lambda: next(clock))

    def ask(forward: Any) -> None:
        for rows in (1, 4, 4, 4):
            forward(torch.ones(rows, 3))

    watched = Watched(nn.Identity(), 0, 6.0)
    assert watched.outcome(ask, range(100)).seconds == pytest.approx(3 + 100 * 0.5)


def test_nothing_compared_and_nan_are_no_agreement() -> None:
    right = {0: 1.0, 1: 3.0}
    assert difference({0: 1.0, 1: 2.0}, right) == 0.5
    assert difference({0: float("nan")}, right) == float("inf")
    with pytest.raises(ValueError, match="nothing is compared"):
        difference({7: 1.0}, right)
    with pytest.raises(ValueError, match="nothing is compared"):
        difference({0: 1.0}, {0: 1.0})


def test_bound_counts_what_positions_can_reach() -> None:
    """Of 8 × 8 pixels a 1 × 1 convolution sees 4 × 4, a 3 × 3 one 5 × 5 from each corner."""
    made = Windows(torch.rand(1, 3, 8, 8), 4, 4)
    assert bound(made, nn.Conv2d(3, 2, 1)) == pytest.approx(64 / 16)
    assert bound(made, nn.Conv2d(3, 2, 3, padding=1)) == pytest.approx(64 / 25)


def test_what_mixes_pixels_counts_as_a_whole() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(128, 6))
    made = Windows(torch.rand(1, 3, 8, 8), 4, 4)
    assert bound(made, model) == pytest.approx((64 * 6 + 128 * 6) / (16 * 6 + 128 * 6))


def options(**more: Any) -> argparse.Namespace:
    asked = {"network": "net", "what": ["8/8"], "size": 24, "device": "cpu", "rounds": 2}
    return argparse.Namespace(**asked, seconds=0.0, sides=list(SIDES), **more)


def test_a_row(net: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "network", lambda name, size: net)
    (row,) = ablation.timed(options())
    assert (row["network"], row["what"], row["places"], row["rounds"]) == ("net", "8/8", 9, 2)
    assert all(side["ms"] > 0 for side in row["sides"].values())
    assert [name for name, side in row["sides"].items() if "times" in side] == ["dense", "captum"]
    assert row["bound"] > 1


QUICK = Settings(CPU, rounds=1, quick=True)


def test_a_wrong_side_gets_no_time(net: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*asked: Any) -> Outcome:
        right = ablation.dense(*asked)
        return replace(right, scores={place: 1.1 * one for place, one in right.scores.items()})

    monkeypatch.setattr(ablation, "network", lambda name, size: net)
    monkeypatch.setitem(SIDES, "torchattr", wrong)
    (row,) = ablation.timed(options())
    ours = row["sides"]["torchattr"]
    assert ours["wrong"] == "differs by more than 0.0001"
    assert "ms" not in ours
    assert "times" not in row["sides"]["captum"]
    shown = "\n".join(CASES["incremental"].tables([row]))
    assert "| differs by more than 0.0001 |" in shown
    assert incremental._weighed([{**row, "what": "16/8"}], QUICK) == [{**row, "what": "16/8"}]

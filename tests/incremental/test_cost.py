"""The cost model: its counts, its cuts, and what it measures when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_device import DenseCalls, FakeClock, FakePatches
from helpers import assert_same, noise, reported, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.core.cache_dir import put_in_place
from torchattr.incremental import cost, session
from torchattr.incremental.cost import Rates, estimates, seconds
from torchattr.incremental.op_counts import OpCounts
from torchattr.incremental.schedule import LoweredTape, lower_tape
from torchattr.incremental.tape import TapeMode
from torchattr.kernels.patches import Boxes
from torchattr.kernels.reference.patches import TorchPatches
from torchattr.methods._perturbation import incremental_scores

BACKEND = TorchPatches()
KINDS = ("3x3", "1x1", "other", "depthwise", "bytes", "launches")


def made_up(patches: float, whole: float, a_byte: float = 0.0, a_launch: float = 0.0) -> Rates:
    """Return the same rate for each kind of convolution."""
    return Rates(
        {**dict.fromkeys(KINDS, patches), "bytes": a_byte, "launches": a_launch},
        {**dict.fromkeys(KINDS, whole), "bytes": a_byte, "launches": a_launch},
    )


def read(model: nn.Module, x: Tensor) -> LoweredTape:
    recording = TapeMode([x])
    with torch.no_grad(), recording:
        output = model(x)
    recording.finish(output)
    return lower_tape(recording.tape, 1)


def deep() -> nn.Module:
    """Three convolutions whose receptive field grows to most of a small image."""
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 5, padding=2),
            nn.Conv2d(4, 4, 5, padding=2),
        ).double()
    )  # fmt: skip


def corner(side: int) -> dict[int, Boxes]:
    """Return ten variants that change a square at the top left."""
    none, end = np.zeros(10, dtype=np.int64), np.full(10, side)
    return {0: Boxes.of(none, none, none, end, end)}


def test_time_is_counts_times_rates() -> None:
    assert seconds(OpCounts({"3x3": 6, "bytes": 4}), {"3x3": 0.5, "bytes": 2.0}) == 11.0


def test_costs_are_what_arithmetic_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "STEP", 0.0)
    monkeypatch.setattr(cost, "CALL", 0.0)
    found = read(deep(), noise(1, 2, 12, 12))
    made = {one.cut: one for one in estimates(found, corner(2), made_up(2.0, 1.0), 10)}
    weights = [2 * 4 * 9, 4 * 4 * 25, 4 * 4 * 25]
    reach = [3 * 3, 5 * 5, 7 * 7]
    dense = [144 * count for count in weights]
    patches = [2 * area * count for area, count in zip(reach, weights, strict=True)]
    for cut in range(4):
        assert made[cut].seconds == pytest.approx(10 * (sum(patches[:cut]) + sum(dense[cut:])))
        assert made[cut].whole == pytest.approx(10 * sum(dense))


@pytest.mark.parametrize(("rate", "cut"), [(1.0, 3), (3.5, 2), (8.0, 1), (20.0, 0)])
def test_cuts_where_the_whole_becomes_cheaper(
    rate: float, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 144 pixels the three layers recompute 9, 25 and 49: each pays below 16, 5.8 and 2.9.

    The first one alone is too small a part to be worth it.
    """
    monkeypatch.setattr(cost, "STEP", 0.0)
    monkeypatch.setattr(cost, "CALL", 0.0)
    monkeypatch.setattr(cost, "WORTHWHILE", 1.0)
    found = read(deep(), noise(1, 2, 12, 12))
    assert estimates(found, corner(2), made_up(rate, 1.0), 10)[0].cut == cut


def test_small_gains_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "STEP", 0.0)
    monkeypatch.setattr(cost, "CALL", 0.0)
    found = read(deep(), noise(1, 2, 12, 12))
    # On changed pixels the first layer takes half the time, which saves 4 % of all.
    assert estimates(found, corner(2), made_up(8.0, 1.0), 10)[0].cut == 0


def test_what_is_not_read_costs_what_the_whole_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "STEP", 0.0)
    monkeypatch.setattr(cost, "CALL", 0.0)
    first, *rest = deep()
    found = read(nn.Sequential(first, nn.Softmax(1), *rest), noise(1, 2, 12, 12))
    made = {one.cut: one.seconds for one in estimates(found, corner(2), made_up(1, 1), 10)}
    assert made[4] == made[1] < made[0]


def test_handing_over_costs_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "STEP", 0.0)
    monkeypatch.setattr(cost, "CALL", 0.0)
    found = read(deep(), noise(1, 2, 12, 12))
    free = {one.cut: one.seconds for one in estimates(found, corner(2), made_up(1, 1), 10)}
    paid = {one.cut: one.seconds for one in estimates(found, corner(2), made_up(1, 1, 1), 10)}
    # Four channels of 144 pixels of 8 bytes are written once and read once for each variant.
    assert paid[1] - free[1] == pytest.approx(2 * 10 * 4 * 144 * 8)
    assert paid[0] == free[0]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new cache, and nothing kept from before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    cost._rates.cache_clear()
    yield tmp_path
    cost._rates.cache_clear()


def ask() -> Rates:
    return cost.rates(BACKEND, torch.float32, torch.device("cpu"), 1)


def test_rates_are_measured_once_and_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = torch.get_rng_state()
    found = ask()
    assert torch.equal(torch.get_rng_state(), state)
    for side in (found.patches, found.whole):
        assert sorted(side) == sorted(KINDS)
        assert all(0 < rate < 1e-3 for rate in side.values())
    (path,) = cache.rglob("rates-*.json")
    monkeypatch.setattr(cost, "_measured", lambda *_: pytest.fail("measured again"))
    assert ask() is found
    cost._rates.cache_clear()
    assert ask() == found
    assert list(cache.rglob("*.json")) == [path]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"patches": {}}', '{"other": 1}'])
def test_rates_that_cannot_be_read_are_measured_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(cost, "_measured", lambda *_: made_up(1.0, 2.0, 1.0, 1.0))
    ask()
    (path,) = cache.rglob("rates-*.json")
    path.write_text(text)
    cost._rates.cache_clear()
    assert ask() == made_up(1.0, 2.0, 1.0, 1.0)


def test_rates_serve_where_nothing_can_be_written(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cache / "torchattr").write_text("a file where a folder should be")
    monkeypatch.setattr(cost, "_measured", lambda *_: made_up(1.0, 2.0, 1.0, 1.0))
    assert ask() == made_up(1.0, 2.0, 1.0, 1.0)


@pytest.mark.parametrize("mode", [True, False, "auto"])
def test_nothing_is_measured_unless_something_is_chosen(
    mode: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "_measured", lambda *_: pytest.fail("measured"))
    ta.Occlusion(lambda x: deep()(x).mean((2, 3))).attribute(
        noise(1, 2, 12, 12), (2, 3, 3), (2, 3, 3), target=1, incremental=mode
    )


def test_what_pays_is_chosen_by_what_was_measured(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incremental_scores, "SMALL", 0)
    monkeypatch.setattr(cost, "STEP", 0.0)
    for rate, followed in ((1e-9, True), (1.0, False)):
        occlusion = ta.Occlusion(lambda x: deep()(x).mean((2, 3)))
        cost._rates.cache_clear()
        for path in cache.rglob("rates-*.json"):
            path.unlink()
        monkeypatch.setattr(cost, "_measured", lambda *_, rate=rate: made_up(rate, 1e-2))
        _, report = reported(occlusion, noise(1, 2, 12, 12), (2, 3, 3), (2, 3, 3), target=1)
        assert (report.followed > 0) == followed, str(report)


USUAL = dict.fromkeys(KINDS, 1e-10)
ODD: dict[str, Any] = {
    "nothing": {},
    "one way": {"patches": USUAL},
    "a kind is missing": {"patches": USUAL, "whole": {**USUAL, "3x3": None}},
    "text": {"patches": USUAL, "whole": {**USUAL, "3x3": "fast"}},
    "a list": {"patches": [1, 2], "whole": USUAL},
    "no table": [1, 2, 3],
    "negative": {"patches": USUAL, "whole": {**USUAL, "1x1": -1e-10}},
    "zero": {"patches": USUAL, "whole": {**USUAL, "1x1": 0.0}},
    "nan": {"patches": {**USUAL, "other": float("nan")}, "whole": USUAL},
    "infinite": {"patches": {**USUAL, "other": float("inf")}, "whole": USUAL},
}


@pytest.mark.parametrize("name", ODD)
def test_odd_rates_are_measured_again(
    name: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "_measured", lambda *_: made_up(2.0, 3.0, 1.0, 1.0))
    right = ask()
    (path,) = cache.rglob("rates-*.json")
    with put_in_place(path) as part:
        part.write_text(json.dumps(ODD[name]))
    cost._rates.cache_clear()
    assert ask() == right
    monkeypatch.setattr(cost, "_measured", lambda *_: pytest.fail("measured again"))
    cost._rates.cache_clear()
    assert ask() == right


def small_classifier() -> nn.Module:
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3),
        )
    )  # fmt: skip


def spent(mode: Any, launch: float, rate: float, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the map, the report, and the time that the device took, after its rates are known."""
    clock = FakeClock()
    backend = FakePatches(clock, launch, rate)
    monkeypatch.setattr(cost, "perf_counter", clock)
    monkeypatch.setattr(session, "choose_patches", lambda *_: backend)
    monkeypatch.setattr(incremental_scores, "SMALL", 0)
    occlusion, x = ta.Occlusion(small_classifier()), noise(1, 3, 32, 32).float()
    with DenseCalls(clock, 2e-11):
        for _ in range(2):
            began = clock.now
            found, report = reported(occlusion, x, (3, 4, 4), (3, 4, 4), target=1, incremental=mode)
    return found, report, clock.now - began


@pytest.mark.parametrize(
    ("launch", "rate", "pays"),
    [(1e-3, 2e-11, False), (1e-5, 2e-11, True), (1e-5, 2e-9, False), (1e-3, 1e-14, False)],
    ids=["slow launches", "fast", "slow products", "only launches"],
)
def test_the_automatic_choice_is_never_slower_than_whole_forwards(
    launch: float, rate: float, pays: bool, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a device whose launches take a millisecond, or whose products are slow."""
    whole, _, dense = spent(False, launch, rate, monkeypatch)
    _, _, followed = spent(True, launch, rate, monkeypatch)
    found, report, automatic = spent("auto", launch, rate, monkeypatch)
    assert (followed < dense) == pays
    assert (report.followed > 0) == pays, str(report)
    assert automatic <= min(dense, followed) * 1.001
    assert_same(found, whole, 1e-4)


def test_measuring_tells_launches_from_work(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    monkeypatch.setattr(cost, "perf_counter", clock)
    backend = FakePatches(clock, 1e-3, 1e-9)
    with DenseCalls(clock, 2e-9):
        found = cost.rates(backend, torch.float32, torch.device("cpu"), 1)
    assert found.patches["launches"] == pytest.approx(1e-3, rel=1e-3)
    assert found.whole["launches"] == pytest.approx(1e-5, rel=0.1)
    for kind in ("3x3", "1x1", "other"):
        assert found.patches[kind] == pytest.approx(1e-9, rel=1e-3)
        assert found.whole[kind] == pytest.approx(2e-9, rel=1e-2)

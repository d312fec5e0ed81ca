"""Plans: kept for the next call, for this model only, and never for another one's shapes."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any
from weakref import ref

import numpy as np
import pytest
import torch
from helpers import assert_same, noise, reported, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.core.by_model import ByModel
from torchattr.incremental import plan, session
from torchattr.incremental.plan import Plan, Recomputed, plan_of, signature
from torchattr.incremental.schedule import Schedule, lower_tape
from torchattr.incremental.tape import TapeMode
from torchattr.kernels import Boxes

X = noise(1, 3, 12, 12)
WINDOW = {"sliding_window_shapes": (3, 4, 4), "strides": (3, 4, 4), "target": 1}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.twice = False

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        x = self.second(self.second(x)) if self.twice else self.second(x)
        return x.relu().mean((2, 3))


def net() -> Net:
    return seeded(Net).double()


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The plans that are made, in a process that has none yet."""
    monkeypatch.setattr(plan, "_plans", ByModel())
    found: list[int] = []
    estimates = session.estimates

    def noted(*args: Any) -> Any:
        found.append(len(found))
        return estimates(*args)

    monkeypatch.setattr(session, "estimates", noted)
    return found


def agrees(model: nn.Module, x: Tensor = X, **options: Any) -> None:
    occlusion, options = ta.Occlusion(model), {**WINDOW, **options}
    found, report = reported(occlusion, x, incremental=True, **options)
    assert report.followed
    expected = occlusion.attribute(x, incremental=False, **options)
    assert_same(found, expected, 1e-10 if x.dtype == torch.float64 else 1e-4)


def test_a_plan_serves_other_pictures_and_weights_of_the_same_shape(made: list[int]) -> None:
    model = net()
    agrees(model)
    agrees(model, noise(1, 3, 12, 12, seed=9))
    with torch.no_grad():
        model.first.weight.mul_(-1)
    agrees(model)
    model.second.weight = nn.Parameter(noise(4, 4, 3, 3, seed=4))
    agrees(model)
    assert len(made) == 1


def widened(model: Net) -> None:
    model.second = seeded(nn.Conv2d, 4, 7, 5, padding=2).double()


def strided(model: Net) -> None:
    model.second.stride = (2, 2)


def extended(model: Net) -> None:
    model.twice = True


def replaced(model: Net) -> None:
    model.first = nn.Sequential(model.first, nn.BatchNorm2d(4).double().eval())  # type: ignore[assignment]


@pytest.mark.parametrize("change", [widened, strided, replaced])
def test_another_structure_or_shape_needs_another_plan(
    change: Callable[[Net], None], made: list[int]
) -> None:
    model = net()
    agrees(model)
    change(model)
    agrees(model)
    assert len(made) == 2


def test_another_path_through_the_model_needs_another_plan(made: list[int]) -> None:
    model = net()
    for twice in (False, True, False, True):
        model.twice = twice
        agrees(model)
    assert len(made) == 2


def test_other_inputs_windows_and_settings_need_another_plan(made: list[int]) -> None:
    model = net()
    agrees(model)
    agrees(model, noise(1, 3, 14, 12))
    agrees(model, sliding_window_shapes=(3, 3, 4), strides=(3, 3, 4))
    agrees(model, strides=(3, 2, 4))
    assert len(made) == 4
    agrees(model.float(), X.float())
    assert len(made) == 5


def test_models_share_no_plan(made: list[int]) -> None:
    agrees(net())
    agrees(net())
    assert len(made) == 2


def test_boxes_are_the_same_objects_for_the_same_positions() -> None:
    schedule = scheduled(net())
    kept = Plan(3, Recomputed(3, 0, 0.0))
    first = kept.boxes(schedule, {0: boxes(2)})
    again = kept.boxes(schedule, {0: boxes(2)})
    other = kept.boxes(schedule, {0: boxes(3)})
    assert first is again
    assert other.changed != first.changed
    for index, one in schedule.boxes({0: boxes(2)}).items():
        assert first.changed[index] == one
    assert set(first.whole) == set(schedule.frontier)


def test_tables_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = scheduled(net())
    kept = Plan(3, Recomputed(3, 0, 0.0))
    first = kept.boxes(schedule, {0: boxes(2)})
    monkeypatch.setattr(plan, "MOST_ROWS", first.rows)
    assert kept.boxes(schedule, {0: boxes(2)}) is first
    kept.boxes(schedule, {0: boxes(1)})
    assert kept.boxes(schedule, {0: boxes(2)}) is not first
    monkeypatch.setattr(plan, "MOST_ROWS", 0)
    assert kept.boxes(schedule, {0: boxes(2)}).changed[0] == boxes(2)


def test_the_number_of_plans_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "MOST_PLANS", 2)
    model, made = net(), []

    def make() -> Plan:
        made.append(0)
        return Plan(0, Recomputed(0, 0, 0.0))

    first = plan_of(model, "a", make)
    plan_of(model, "b", make)
    assert plan_of(model, "a", make) is first
    plan_of(model, "c", make)
    assert plan_of(model, "a", make) is first
    assert len(made) == 3
    plan_of(model, "b", make)
    assert len(made) == 4


def test_a_plan_dies_with_its_model() -> None:
    model = net()
    made = plan_of(model, "key", lambda: Plan(0, Recomputed(0, 0, 0.0)))
    gone = ref(model)
    assert plan_of(model.forward, "key", lambda: pytest.fail("made again")) is made
    del model
    gc.collect()
    assert gone() is None


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True

    def __call__(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def test_what_cannot_be_a_weak_key_keeps_no_plan() -> None:
    model, made = Unhashable(), []
    for _ in range(2):
        plan_of(model, "key", lambda: made.append(0) or Plan(0, Recomputed(0, 0, 0.0)))
    assert len(made) == 2


def tensors_held(value: Any, seen: set[int]) -> Iterator[Tensor]:
    """Yield every tensor that can be reached from a value of this package's and Python's types."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
    elif not isinstance(value, type):
        for other in gc.get_referents(value):
            yield from tensors_held(other, seen)


def test_plans_hold_no_values(made: list[int]) -> None:
    model = net()
    agrees(model)
    held = [list(tensors_held(kept, set())) for kept in plan._plans.values()]
    assert held == [[]]
    (kept,) = plan._plans[model].values()
    assert kept._chunks


def scheduled(model: nn.Module) -> Schedule:
    return Schedule(read(model), 3)


def read(model: nn.Module) -> Any:
    recording = TapeMode([X])
    with torch.no_grad(), recording:
        recording.finish(model(X))
    return lower_tape(recording.tape, 1)


def boxes(count: int) -> Boxes:
    first = np.arange(count)
    return Boxes.of(0 * first, first, first, first + 2, first + 3)


def test_signatures_tell_tapes_apart() -> None:
    model = net()
    signatures = [signature(read(model)), signature(read(model))]
    for change in (extended, strided, widened, replaced):
        changed = net()
        change(changed)
        signatures.append(signature(read(changed)))
    assert signatures[0] == signatures[1]
    assert len(set(signatures)) == 5

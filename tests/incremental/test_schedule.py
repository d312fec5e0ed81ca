"""Schedules: the operators before a cut, the frontier at the cut, and the reasons for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from helpers import noise, seeded
from torch import Tensor, nn

from torchattr.incremental.schedule import LoweredTape, Schedule, fallback_reasons, lower_tape
from torchattr.incremental.tape import TapeMode
from torchattr.kernels import Boxes

X = noise(1, 4, 6, 6)
CONV = seeded(nn.Conv2d, 4, 8, 3, padding=1).double().requires_grad_(False)


def lowered(model: Any) -> LoweredTape:
    recording = TapeMode([X])
    with torch.no_grad(), recording:
        output = model(X)
    recording.finish(output)
    return lower_tape(recording.tape, 1)


def model(x: Tensor) -> Tensor:
    """Three pointwise or windowed calls, then one that mixes all pixels."""
    return CONV(x).sigmoid().neg().softmax(2)


def test_a_tape_is_lowered_as_far_as_possible() -> None:
    tape = lowered(model)
    assert [len(operators) for operators in tape.operators] == [1, 1, 1, 0]
    assert list(tape.reasons) == [3]


def test_the_frontier_is_what_the_dense_part_reads() -> None:
    tape = lowered(model)
    whole = Schedule(tape, 4)
    assert whole.followed == {0, 1, 2}
    assert whole.frontier == {3}
    assert whole.is_possible
    assert whole.saves
    early = Schedule(tape, 1)
    assert early.followed == {0}
    assert early.frontier == {1}
    none = Schedule(tape, 0)
    assert none.followed == frozenset()
    assert not none.saves


def test_values_are_released_after_their_last_use() -> None:
    schedule = Schedule(lowered(lambda x: (y := x.sin()) + y.cos()), 3)
    assert schedule.last_uses == [[True], [False], [True, True]]


def test_boxes_grow_by_the_reach_of_each_operator() -> None:
    one = np.ones(1, dtype=np.int64)
    changed = Boxes.of(0 * one, 2 * one, 2 * one, 3 * one, 4 * one)
    boxes = Schedule(lowered(model), 4).boxes({0: changed})
    assert boxes[3].table[0, 1:5].tolist() == [1, 1, 4, 5]


def test_loads_count_live_values_and_what_is_handed_over() -> None:
    schedule = Schedule(lowered(lambda x: x.sin().cos()), 2)
    one = np.ones(1, dtype=np.int64)
    boxes = schedule.boxes({0: Boxes.of(0 * one, 0 * one, 0 * one, 2 * one, 3 * one)})
    pixel = 4 * 8
    assert schedule.loads(boxes) == [(12 * pixel, 0), (12 * pixel, 0), (36 * pixel, 0)]


def test_only_clean_values_that_operators_read_are_kept() -> None:
    schedule = Schedule(lowered(model), 4)
    before = schedule.clean_bytes
    schedule.release()
    kept = [value.clean is not None for value in schedule.lowered.tape.values]
    assert kept == [True, True, True, True, False]
    assert schedule.clean_bytes < before


def test_reasons_are_given_once() -> None:
    tape = lowered(lambda x: x.softmax(2).softmax(2).softmax(3))
    assert fallback_reasons(tape, 3) == ["softmax is not known to keep pixels apart"]
    assert fallback_reasons(lowered(model), 1) == ["from sigmoid on, dense computation is cheaper"]

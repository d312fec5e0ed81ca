"""Fusing convolutions, batch-norms, sums and rectifiers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import noise, seeded
from torch import Tensor, nn

from torchattr.incremental.schedule import Schedule, lower_tape
from torchattr.incremental.tape import TapeMode

X = noise(1, 4, 6, 6)
CONV = seeded(nn.Conv2d, 4, 4, 3, padding=1).double().requires_grad_(False)
NORM = seeded(nn.BatchNorm2d, 4).double().requires_grad_(False)


def steps(model: Any) -> list[str]:
    """Return the names of a model's operators after fusing."""
    recording = TapeMode([X])
    with torch.no_grad(), recording:
        output = model(X)
    recording.finish(output)
    found = lower_tape(recording.tape, 1)
    assert found.reasons == {}
    return [type(step).__name__ for step in Schedule(found, len(found.operators)).operators]


def block(x: Tensor) -> Tensor:
    return NORM(CONV(x)).relu()


def residual(x: Tensor) -> Tensor:
    out = NORM(CONV(block(x)))
    out += x
    return F.relu6(out, inplace=True)


def summed(x: Tensor) -> Tensor:
    return F.dropout(CONV(x) + NORM(CONV(x)), 0.5, False).relu()


@pytest.mark.parametrize(
    ("model", "left"),
    [
        (block, ["Convolved"]),
        (residual, ["Convolved", "Convolved"]),
        (summed, ["Convolved", "Convolved"]),
        (lambda x: F.silu(CONV(x)), ["Convolved", "Pointwise"]),
        (lambda x: CONV(x).relu().relu(), ["Convolved", "Pointwise"]),
        (lambda x: NORM(NORM(CONV(x))), ["Convolved", "Pointwise"]),
        (lambda x: NORM(CONV(x) + x), ["Convolved", "Pointwise"]),
        (lambda x: torch.add(CONV(x), x, alpha=2), ["Convolved", "Pointwise"]),
        (lambda x: CONV(x) - x, ["Convolved", "Pointwise"]),
        (lambda x: NORM(x).relu(), ["Pointwise", "Pointwise"]),
    ],
)
def test_takes_together_what_follows_a_convolution(model: Any, left: list[str]) -> None:
    assert steps(model) == left


def test_what_somebody_else_reads_stays() -> None:
    def model(x: Tensor) -> Tensor:
        y = CONV(x)
        return y.relu() * y.sigmoid()

    assert steps(model) == ["Convolved", "Pointwise", "Pointwise", "Pointwise"]
    assert steps(lambda x: (y := CONV(x), y.relu())) == ["Convolved", "Pointwise"]


def test_what_leads_to_nothing_is_left_out() -> None:
    def model(x: Tensor) -> Tensor:
        CONV(x).relu()
        return NORM(x)

    assert steps(model) == ["Pointwise"]

"""Fusing convolutions, batch-norms, sums and rectifiers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import noise, seeded
from torch import Tensor, nn

from torchattr.incremental.operators.windows import Convolved
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


def test_batch_norms_of_all_kinds_are_folded_together() -> None:
    convs = [seeded(nn.Conv2d, 4, 4, 3, padding=1, bias=bias).double() for bias in (True, False)]
    norms = [
        seeded(nn.BatchNorm2d, 4, eps=eps, affine=affine).double().eval()
        for eps, affine in ((1e-5, True), (1e-5, False), (0.1, True))
    ]
    for seed, norm in enumerate(norms):
        norm.running_mean, norm.running_var = noise(4, seed=seed), noise(4, seed=seed).exp()
        if norm.affine:
            norm.weight.data, norm.bias.data = noise(4, seed=seed + 7), noise(4, seed=seed + 9)
    pairs = [(conv, norm) for conv in convs for norm in norms]

    def model(x: Tensor) -> Tensor:
        for conv, norm in pairs:
            x = norm(conv(x))
        return x

    recording = TapeMode([X])
    with torch.no_grad(), recording:
        recording.finish(model(X))
    schedule = Schedule(lower_tape(recording.tape, 1), 2 * len(pairs))
    schedule.fold()
    for step, (conv, norm) in zip(schedule.operators, pairs, strict=True):
        assert isinstance(step, Convolved)
        assert step.norm is None
        found = step.convolution.scaled
        with torch.no_grad():
            torch.testing.assert_close(F.conv2d(X, found.weight, found.bias, 1, 1), norm(conv(X)))

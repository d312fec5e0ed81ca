"""Batches without examples, and pictures without pixels, in whatever measures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import refused
from measured import SmallNet

import torchattr as ta
from torchattr import evaluate
from torchattr.errors import InputError, ShapeError
from torchattr.evaluate.measured_inputs import measured_inputs

METHOD = ta.Saliency(SmallNet().eval())


def of_method(name: str) -> Callable[[Any], Any]:
    return lambda x: getattr(evaluate, name)(METHOD, x, target=1)


def of_maps(name: str) -> Callable[[Any], Any]:
    return lambda x: getattr(evaluate, name)(METHOD.model, x, x.clone(), target=1)


MEASURES = {
    **{
        name: of_method(name)
        for name in ("sensitivity_max", "sensitivity_average", "local_lipschitz", "robustness")
    },
    **{name: of_method(name) for name in ("continuity", "input_invariance")},
    **{name: of_maps(name) for name in ("completeness", "deletion_curve", "road", "monotonicity")},
    "infidelity": lambda x: evaluate.infidelity(METHOD.model, x, x.clone(), target=1),
    "check": lambda x: evaluate.check(METHOD.model, x, ["saliency"], target=1),
}


@pytest.mark.parametrize("name", MEASURES)
def test_no_examples_and_no_pixels_are_named(name: str) -> None:
    with refused(ShapeError, "inputs has no examples, so there is nothing to measure"):
        MEASURES[name](torch.zeros(0, 2, 6, 8))
    with refused(InputError, "have no elements per example"):
        MEASURES[name](torch.zeros(2, 2, 0, 8))


def test_what_is_measured_comes_back() -> None:
    assert measured_inputs(torch.ones(2, 3)).batch_size == 2


def test_noise_for_no_pixels_is_refused() -> None:
    with refused(InputError, "have no elements"):
        evaluate.uniform_noise(torch.zeros(1, 3, 0, 0))
    assert evaluate.uniform_noise(torch.zeros(0, 3, 4, 4)).shape == (0, 3, 4, 4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_noise_within_the_range_of_no_numbers_is_refused(value: float) -> None:
    with refused(InputError, "inputs holds NaN or infinite values, so its channels have no range"):
        evaluate.uniform_noise(torch.tensor([[1.0, value]]))

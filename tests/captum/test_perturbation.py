"""The same numbers as Captum's: feature ablation and occlusion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from captum_parity import (
    FEATURES,
    IMAGES,
    SIGNALS,
    SINGLE,
    Segmentation,
    Sequences,
    TwoInputs,
    Values,
    assert_parity,
    convolutions,
)
from helpers import noise, seeded
from torch import Tensor, nn

TARGETS = {
    "int": 2,
    "tuple": (2,),
    "scalar tensor": torch.tensor(2),
    "tensor of one": torch.tensor([2]),
    "tensor": torch.tensor([2, 1, 4]),
    "list": [2, 1, 4],
    "list of tuples": [(2,), (1,), (4,)],
}
ROWS = torch.arange(12).reshape(1, 1, 12, 1) // 3
OWN = (torch.arange(3 * 12).reshape(3, 1, 12, 1) * 7) % 4
# Captum converts numbers to float32; this one is exact in it.
QUARTER = 0.25
BASELINES = {
    "none": None,
    "number": QUARTER,
    "row": noise(1, 3, 12, 8, seed=4),
    "rows": noise(3, 3, 12, 8, seed=4),
}
WINDOWS = {"sliding_window_shapes": (3, 4, 3), "strides": (3, 3, 2)}


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return convolutions()


@pytest.mark.parametrize("form", TARGETS)
def test_every_form_of_target(form: str, model: nn.Module) -> None:
    target = TARGETS[form]
    assert_parity("FeatureAblation", model, IMAGES, target=target, feature_mask=ROWS)
    assert_parity("Occlusion", model, IMAGES, target=target, tolerance=SINGLE, **WINDOWS)


@pytest.mark.parametrize("target", [(1, 2, 3), [(1, 2, 3), (0, 11, 7), (3, 0, 0)]], ids=repr)
def test_every_form_of_target_of_a_dense_output(target: Any) -> None:
    model = seeded(Segmentation).double()
    assert_parity("FeatureAblation", model, IMAGES, target=target, feature_mask=ROWS)


@pytest.mark.parametrize("at_once", [1, 2, 100])
@pytest.mark.parametrize("mask", [None, ROWS, OWN], ids=["elements", "rows", "own"])
def test_masks(mask: Tensor | None, at_once: int) -> None:
    model, inputs = (seeded(Sequences).double(), SIGNALS) if mask is None else (None, IMAGES)
    assert_parity(
        "FeatureAblation",
        model or convolutions(),
        inputs,
        target=[2, 1, 3],
        feature_mask=mask,
        perturbations_per_eval=at_once,
    )


@pytest.mark.parametrize("baselines", BASELINES)
def test_baselines(baselines: str, model: nn.Module) -> None:
    options = {"baselines": BASELINES[baselines], "target": 2}
    assert_parity("FeatureAblation", model, IMAGES, feature_mask=ROWS, **options)
    assert_parity("Occlusion", model, IMAGES, tolerance=SINGLE, **WINDOWS, **options)


@pytest.mark.parametrize("column", [False, True])
def test_one_value_for_each_example(column: bool) -> None:
    model = seeded(Values, column=column).double()
    assert_parity("FeatureAblation", model, FEATURES)
    assert_parity("Occlusion", model, FEATURES, sliding_window_shapes=(2,), tolerance=SINGLE)


def _total(module: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: module(x).square().sum()


def _number(module: nn.Module) -> Callable[[Tensor], float]:
    return lambda x: module(x).square().sum().item()


def _totals(module: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: module(x).square().sum(0)


@pytest.mark.parametrize("wrap", [_total, _number, _totals])
def test_a_function_that_aggregates_the_batch(wrap: Callable[..., Any], model: nn.Module) -> None:
    assert_parity("FeatureAblation", model, IMAGES, wrap=wrap, feature_mask=ROWS)


@pytest.mark.parametrize(
    "arguments", [None, noise(3, 5), (noise(3, 5), False)], ids=["none", "tensor", "both"]
)
@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("joint", [True, False])
def test_two_inputs_and_further_arguments(joint: bool, at_once: int, arguments: Any) -> None:
    """Elements with the same number are replaced together, even across inputs."""
    features = torch.tensor([[0, 1, 2, 3, 3, 0]]) + (0 if joint else 4)
    assert_parity(
        "FeatureAblation",
        seeded(TwoInputs).double(),
        (IMAGES, FEATURES),
        target=[2, 1, 4],
        baselines=(QUARTER, noise(1, 6, seed=5)),
        feature_mask=(ROWS, features),
        additional_forward_args=arguments,
        perturbations_per_eval=at_once,
    )


@pytest.mark.parametrize("at_once", [1, 3])
def test_occlusion_of_two_inputs_and_further_arguments(at_once: int) -> None:
    assert_parity(
        "Occlusion",
        seeded(TwoInputs).double(),
        (IMAGES, FEATURES),
        sliding_window_shapes=((3, 4, 4), (2,)),
        strides=((3, 4, 2), 1),
        target=1,
        baselines=(QUARTER, noise(3, 6, seed=5)),
        additional_forward_args=(noise(3, 5), False),
        perturbations_per_eval=at_once,
        tolerance=SINGLE,
    )


@pytest.mark.parametrize("strides", [None, 1, 2, (1, 3, 2)], ids=str)
@pytest.mark.parametrize("window", [(3, 3, 3), (2, 5, 4)], ids=str)
def test_windows_and_strides(window: tuple[int, ...], strides: Any, model: nn.Module) -> None:
    options = {"sliding_window_shapes": window, "strides": strides, "perturbations_per_eval": 9}
    assert_parity("Occlusion", model, IMAGES[:1], target=2, tolerance=SINGLE, **options)

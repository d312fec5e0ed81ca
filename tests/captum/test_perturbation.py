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
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr.captum
from torchattr.errors import OutputError, PermutationWarning

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
CHANNELS = torch.arange(8).reshape(1, 8, 1, 1) // 2
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


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("target", [1, [0, 2, 4], None])
def test_permuted_features(target: Any, at_once: int, model: nn.Module) -> None:
    options = {"feature_mask": ROWS, "perturbations_per_eval": at_once}
    assert_parity("FeaturePermutation", model, IMAGES, target=target, **options)
    assert_parity("FeaturePermutation", model, IMAGES, wrap=_total, feature_mask=ROWS)


@pytest.mark.parametrize("options", [{"target": 1}, {"target": [0, 2, 4]}, {}])
@pytest.mark.parametrize("of_input", [False, True])
def test_layers(of_input: bool, options: dict[str, Any], model: nn.Module) -> None:
    given = {"layer_mask": CHANNELS, "attribute_to_layer_input": of_input, **options}
    assert_parity("LayerFeatureAblation", model, IMAGES, layer="relu2", **given)
    # Captum does not repeat a list of targets.
    at_once = 1 if isinstance(options.get("target"), list) else 3
    given |= {"layer_baselines": QUARTER, "perturbations_per_eval": at_once}
    assert_parity("LayerFeatureAblation", model, IMAGES, layer="relu2", **given)


def test_permuted_layers(model: nn.Module) -> None:
    # Captum applies a target twice, so only forwards without one can be compared.
    options: dict[str, Any] = {"layer": "relu2", "layer_mask": CHANNELS}
    assert_parity("LayerFeaturePermutation", model, IMAGES, **options)
    method = torchattr.captum.LayerFeaturePermutation(model, model.relu2)
    torch.manual_seed(0)
    named = method.attribute(IMAGES, target=2, layer_mask=CHANNELS)
    torch.manual_seed(0)
    every = method.attribute(IMAGES, layer_mask=CHANNELS)
    assert_same(every.unflatten(0, (3, 5))[:, 2], named, 1e-10)


@pytest.mark.parametrize(
    "selector", [(slice(None), 1, 1), (slice(0, 3), 2, 0), lambda x: x.sum((1, 2, 3))]
)
@pytest.mark.parametrize("of_input", [False, True])
def test_neurons(of_input: bool, selector: Any, model: nn.Module) -> None:
    given = {"neuron_selector": selector, "attribute_to_neuron_input": of_input}
    options = {"layer": "relu2", "feature_mask": ROWS, "baselines": QUARTER, **given}
    assert_parity("NeuronFeatureAblation", model, IMAGES, **options)


@pytest.mark.parametrize("at_once", [1, 3])
def test_every_value_without_a_target(at_once: int, model: nn.Module) -> None:
    options = {"perturbations_per_eval": at_once}
    found = assert_parity("FeatureAblation", model, IMAGES, feature_mask=ROWS, **options)
    assert found.shape == (15, 3, 12, 8)
    maps = seeded(Segmentation).double()
    image, window = noise(2, 3, 4, 4), (3, 2, 2)
    given = {"sliding_window_shapes": window, "strides": window, "tolerance": SINGLE, **options}
    assert_parity("Occlusion", maps, image, **given)


@pytest.mark.parametrize("name", ["FeatureAblation", "FeaturePermutation"])
def test_futures(name: str, model: nn.Module) -> None:
    def later(x: Tensor) -> Any:
        future: Any = torch.futures.Future()
        future.set_result(model(x))
        return future

    method = getattr(torchattr.captum, name)
    torch.manual_seed(0)
    found = method(later).attribute_future(IMAGES, target=1, feature_mask=ROWS)
    torch.manual_seed(0)
    expected = method(model).attribute(IMAGES, target=1, feature_mask=ROWS)
    assert_same(found.wait(), expected, 1e-10)
    with refused(OutputError, "torch.futures.Future", "Tensor"):
        method(model).attribute_future(IMAGES, target=1)
    with pytest.raises(NotImplementedError):
        torchattr.captum.Occlusion(later).attribute_future(IMAGES)


@pytest.mark.parametrize("name", ["Feature Ablation", "Feature Permutation", "Occlusion"])
def test_progress_reads_as_captums(
    name: str, model: nn.Module, capsys: pytest.CaptureFixture[str]
) -> None:
    own = {"sliding_window_shapes": (3, 4, 4), "strides": 3} if name == "Occlusion" else {}
    method = getattr(torchattr.captum, name.replace(" ", ""))(model)
    given = own or {"feature_mask": ROWS}
    method.attribute(IMAGES, target=1, show_progress=True, **given)
    assert f"{name} attribution: 100%" in capsys.readouterr().err


def test_a_single_example_is_not_permuted(model: nn.Module) -> None:
    with pytest.warns(PermutationWarning):
        found = torchattr.captum.FeaturePermutation(model).attribute(IMAGES[:1], target=1)
    assert not found.any()

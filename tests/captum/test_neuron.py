"""Neurons of layers, as Captum selects them."""

from __future__ import annotations

from typing import Any

import captum.attr
import pytest
import torch
from captum_parity import (
    FEATURES,
    IMAGES,
    SINGLE,
    Sequences,
    TwoInputs,
    assert_parity,
    convolutions,
)
from helpers import noise, refused, seeded
from torch import Tensor, nn

import torchattr.captum
from torchattr.errors import InputError, TargetError

NEURONS = ["NeuronGuidedBackprop", "NeuronDeconvolution"]

SELECTORS: dict[str, Any] = {
    "place": (2, 1, 1),
    "slice": (2, slice(0, 3), 1),
    "slices": (slice(None), slice(1, 3), slice(0, 2)),
    "callable": lambda values: values.flatten(1)[:, ::3].sum(1),
}


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return convolutions()


class Twice(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, 2 * x


class First(nn.Module):
    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        return pair[0]


@pytest.mark.parametrize("of_input", [False, True])
@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("name", NEURONS)
def test_a_neuron_of_a_convolution(
    name: str, selector: str, of_input: bool, model: nn.Module
) -> None:
    options = {"neuron_selector": SELECTORS[selector], "attribute_to_neuron_input": of_input}
    assert_parity(name, model, IMAGES, layer="conv2", **options)


@pytest.mark.parametrize("selector", [1, (1,), slice(0, 4)], ids=str)
@pytest.mark.parametrize("name", NEURONS)
def test_a_neuron_of_a_linear_layer(name: str, selector: Any, model: nn.Module) -> None:
    chosen = (selector,) if isinstance(selector, slice) else selector
    assert_parity(name, model, IMAGES, layer="head.1", neuron_selector=chosen)


@pytest.mark.parametrize("name", NEURONS)
def test_a_neuron_of_two_tensors(name: str) -> None:
    assert_parity(
        name,
        seeded(TwoInputs).double(),
        (IMAGES, FEATURES),
        layer="both",
        neuron_selector=lambda pair: pair[0][:, 1] + pair[1].sum(1),
        additional_forward_args=(noise(3, 5), False),
    )


def test_several_devices_are_refused_for_a_neuron() -> None:
    model = seeded(Sequences)
    with refused(InputError, "device_ids", "3 devices"):
        torchattr.captum.NeuronDeconvolution(model, model[1], [0, 1, 2])


def test_a_neuron_of_a_layer_of_several_tensors_is_refused() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), Twice(), First())
    method = torchattr.captum.NeuronGuidedBackprop(model, model[2])
    with refused(TargetError, "2 tensors", "callable"):
        method.attribute(torch.ones(2, 6), 1)


@pytest.mark.parametrize("selector", [[1, 2, 0], (1, 2, 0), [-1, 0, 1]])
def test_neurons_by_a_list(selector: Any) -> None:
    for name in ("NeuronGuidedBackprop", "NeuronDeconvolution"):
        assert_parity(name, convolutions(), IMAGES, layer="conv2", neuron_selector=selector)


def test_a_list_of_neurons_is_one_index() -> None:
    model = convolutions()
    with refused(TargetError, "2 indices"):
        torchattr.captum.NeuronGuidedBackprop(model, model.head[1]).attribute(IMAGES, [0, 2])


START = noise(3, 3, 12, 8, seed=3)
ROWS = noise(4, 3, 12, 8, seed=4)


@pytest.mark.parametrize("of_input", [False, True])
@pytest.mark.parametrize("selector", SELECTORS)
def test_gradients_of_neurons(selector: str, of_input: bool, model: nn.Module) -> None:
    options = {"neuron_selector": SELECTORS[selector], "attribute_to_neuron_input": of_input}
    assert_parity("NeuronGradient", model, IMAGES, layer="conv2", **options)
    assert_parity(
        "NeuronIntegratedGradients",
        model,
        IMAGES,
        layer="conv2",
        tolerance=SINGLE,
        baselines=START,
        n_steps=7,
        **options,
    )


@pytest.mark.parametrize("of_input", [False, True])
@pytest.mark.parametrize("rule", ["gausslegendre", "riemann_left", "riemann_middle"])
def test_conductance_of_a_neuron(rule: str, of_input: bool, model: nn.Module) -> None:
    for by_inputs in (True, False):
        assert_parity(
            "NeuronConductance",
            model,
            IMAGES,
            layer="conv2",
            tolerance=SINGLE,
            neuron_selector=(4, 1, 1),
            baselines=START,
            target=[2, 1, 4],
            n_steps=6,
            method=rule,
            internal_batch_size=None if by_inputs else 6,
            attribute_to_neuron_input=of_input,
            multiply_by_inputs=by_inputs,
        )


def test_the_conductance_of_several_neurons_is_the_sum_of_theirs(model: nn.Module) -> None:
    """Captum multiplies the sums of both gradients instead, also between different neurons."""
    options: dict[str, Any] = {"target": 2, "method": "gausslegendre", "n_steps": 6}

    def found(library: Any, selector: Any) -> Tensor:
        method = library.NeuronConductance(model, model.conv2)
        return method.attribute(IMAGES.clone(), selector, START, **options).detach()

    for library in (torchattr.captum, captum.attr):
        parts = sum(found(library, (4, 1, column)) for column in range(2))
        whole = found(library, (4, 1, slice(0, 2)))
        missed = float((whole - parts).abs().max() / whole.abs().max())
        assert (missed < 1e-12) == (library is torchattr.captum)


@pytest.mark.parametrize("name", ["NeuronDeepLift", "NeuronDeepLiftShap"])
def test_deep_lift_of_a_neuron(name: str) -> None:
    model = seeded(
        lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 7), nn.Tanh()).double()
    )
    for by_inputs in (True, False):
        for selector in (2, (3,), (slice(0, 3),), lambda values: values[:, 1] - values[:, 4]):
            assert_parity(
                name,
                model,
                FEATURES,
                layer="2",
                neuron_selector=selector,
                baselines=noise(3, 6, seed=5),
                multiply_by_inputs=by_inputs,
            )


def test_gradient_shap_of_a_neuron() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 5), nn.Tanh())).double()
    for by_inputs in (True, False):
        assert_parity(
            "NeuronGradientShap",
            model,
            FEATURES,
            layer="0",
            neuron_selector=2,
            baselines=noise(1, 6, seed=8),
            multiply_by_inputs=by_inputs,
        )


def test_a_selector_that_sums_over_the_batch(model: nn.Module) -> None:
    options: dict[str, Any] = {"neuron_selector": lambda values: values[:, 1].sum()}
    assert_parity("NeuronGradient", model, IMAGES, layer="conv2", **options)
    assert_parity(
        "NeuronIntegratedGradients", model, IMAGES, layer="conv2", tolerance=SINGLE, **options
    )


def test_fewer_indices_choose_a_single_value() -> None:
    model = nn.Sequential(nn.Conv1d(2, 3, 12), nn.ReLU()).double()
    assert_parity("NeuronGradient", model, noise(3, 2, 12), layer="0", neuron_selector=1)
    with refused(TargetError, "1 indices", "2 dimensions after the batch"):
        torchattr.captum.NeuronGradient(model, model[0]).attribute(noise(3, 2, 14), 1)

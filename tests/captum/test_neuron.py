"""Neurons of layers, as Captum selects them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum_parity import (
    FEATURES,
    IMAGES,
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

"""The same numbers as Captum's where its rules are right: DeepLIFT at layers."""

from __future__ import annotations

from typing import Any

import captum.attr
import pytest
from captum_parity import FEATURES, assert_parity
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr.captum
from torchattr.errors import InputError

START, ROWS = noise(3, 6, seed=5), noise(4, 6, seed=6)


@pytest.fixture
def model() -> nn.Module:
    return seeded(
        lambda: nn.Sequential(
            nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 4)
        ).double()
    )


@pytest.mark.parametrize("by_inputs", [True, False])
@pytest.mark.parametrize("layer", ["0", "1", "2", "3", "4"])
def test_layers(layer: str, by_inputs: bool, model: nn.Module) -> None:
    options: dict[str, Any] = {"target": [2, 1, 3], "multiply_by_inputs": by_inputs}
    assert_parity("LayerDeepLift", model, FEATURES, layer=layer, baselines=START, **options)
    assert_parity("LayerDeepLiftShap", model, FEATURES, layer=layer, baselines=ROWS, **options)


@pytest.mark.parametrize("layer", ["0", "2", "4"])
def test_inputs_of_linear_layers(layer: str, model: nn.Module) -> None:
    options: dict[str, Any] = {"target": 2, "attribute_to_layer_input": True}
    assert_parity("LayerDeepLift", model, FEATURES, layer=layer, baselines=START, **options)
    assert_parity("LayerDeepLiftShap", model, FEATURES, layer=layer, baselines=ROWS, **options)


@pytest.mark.parametrize("name", ["LayerDeepLift", "LayerDeepLiftShap"])
def test_deltas(name: str, model: nn.Module) -> None:
    for library in (torchattr.captum, captum.attr):
        method = getattr(library, name)(model, model[2])
        _, delta = method.attribute(FEATURES, ROWS[:3], 1, return_convergence_delta=True)
        assert delta.shape == ((3,) if name == "LayerDeepLift" else (9,))
        assert float(delta.abs().max()) < 1e-10


def test_captum_takes_the_gradient_at_the_input_of_an_activation(model: nn.Module) -> None:
    """Its rule for the activation is not in force there, so the sum is not the rise."""

    def delta(library: Any) -> Tensor:
        _, missed = library.LayerDeepLift(model, model[1]).attribute(
            FEATURES, START, 1, return_convergence_delta=True, attribute_to_layer_input=True
        )
        return missed.abs().max()

    assert float(delta(torchattr.captum)) < 1e-12
    assert float(delta(captum.attr)) > 1e-3


@pytest.mark.parametrize("name", ["LayerDeepLift", "LayerDeepLiftShap"])
def test_attributions_of_the_users_own(name: str, model: nn.Module) -> None:
    def custom(multipliers: Any, values: Any, starts: Any) -> Any:
        triples = zip(multipliers, values, starts, strict=True)
        return tuple(m * (z - z0).square() for m, z, z0 in triples)

    options: dict[str, Any] = {"target": 2, "custom_attribution_func": custom}
    assert_parity(name, model, FEATURES, layer="2", baselines=ROWS[:3], **options)


def test_grad_kwargs(model: nn.Module) -> None:
    method = torchattr.captum.LayerDeepLift(model, model[2])
    plain = method.attribute(FEATURES, START, 1)
    assert_same(method.attribute(FEATURES, START, 1, grad_kwargs={"retain_graph": True}), plain)
    with refused(InputError, "grad_kwargs", "is_grads_batched"):
        method.attribute(FEATURES, START, 1, grad_kwargs={"is_grads_batched": True})

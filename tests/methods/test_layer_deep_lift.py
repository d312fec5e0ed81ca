"""DeepLIFT at layers: that of the rest of the network, and complete."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import assert_same, noise, refused, seeded
from layered import START, TARGETS, Twice, X, forked, network
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import DisconnectedError, InputTypeError, LayerReuseWarning


@pytest.mark.parametrize("by_inputs", [True, False])
def test_it_is_that_of_the_rest_of_the_network(by_inputs: bool) -> None:
    model = network()
    z, start = model[:3](X).detach(), model[:3](START).detach()
    expected = ta.DeepLift(model[3:], by_inputs).attribute(z, start, TARGETS)
    method = ta.LayerDeepLift(model, "2", by_inputs)
    assert_same(method.attribute(X, START, TARGETS), expected, 1e-12)
    behind = ta.LayerDeepLift(model, "3", by_inputs)
    found = behind.attribute(X, START, TARGETS, attribute_to_layer_input=True)
    assert_same(found, expected, 1e-12)


@pytest.mark.parametrize("of_input", [False, True])
def test_every_layer_of_a_chain_is_complete(of_input: bool) -> None:
    model = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 5, 2),
            nn.GELU(),
            nn.Flatten(),
            nn.LayerNorm(20),
            nn.Linear(20, 3),
        ).double()
    )
    x, start = noise(3, 3, 8, 8), noise(3, 3, 8, 8, seed=7)
    names = [str(number) for number in range(8)]
    found, deltas = ta.LayerDeepLift(model, names).attribute(
        x, start, TARGETS, return_convergence_delta=True, attribute_to_layer_input=of_input
    )
    rise = (model(x) - model(start))[range(3), TARGETS].detach()
    for name in names:
        assert float(deltas[name].abs().max()) < 1e-12
        assert_same(found[name].flatten(1).sum(1), rise, 1e-10)


def test_several_targets() -> None:
    method = ta.LayerDeepLift(network(), "2")
    found, delta = method.attribute(X, START, ta.Classes(2, 0), return_convergence_delta=True)
    assert found.shape == (3, 2, 5, 3)
    assert delta.shape == (3, 2)
    assert_same(found[:, 1], method.attribute(X, START, 0), 1e-12)


def test_a_layer_of_two_tensors_beside_each_other() -> None:
    found, delta = ta.LayerDeepLift(forked(), "1").attribute(
        noise(3, 6), target=1, return_convergence_delta=True
    )
    assert [tuple(one.shape) for one in found] == [(3, 5), (3, 5)]
    assert float(delta.abs().max()) < 1e-12


def test_a_layer_that_is_called_twice() -> None:
    model, x = seeded(Twice).double(), noise(2, 6)
    first = ta.LayerDeepLift(model, "layer", calls="first").attribute(x, target=1)
    assert_same(first.sum(1), (model(x) - model(0 * x))[:, 1].detach(), 1e-10)
    with pytest.warns(LayerReuseWarning):
        ta.LayerDeepLift(model, "layer").attribute(x, target=1)


def test_attributions_of_the_users_own() -> None:
    def custom(multipliers: Any, values: Any, starts: Any) -> Any:
        (m,), (z,), (z0,) = multipliers, values, starts
        return ((z - z0).abs() * m,)

    model = network()
    plain = ta.LayerDeepLift(model, "2").attribute(X, START, TARGETS)
    found = ta.LayerDeepLift(model, "2").attribute(
        X, START, TARGETS, custom_attribution_func=custom
    )
    assert_same(found.abs(), plain.abs(), 1e-12)
    with refused(InputTypeError, "custom_attribution_func", "a tuple of 1 tensors"):
        ta.LayerDeepLift(model, "2").attribute(X, custom_attribution_func=lambda *given: (1, 2))


def test_of_a_neuron() -> None:
    """A layer's contributions to a neuron behind it."""
    model = network()
    found = ta.LayerDeepLift(model, "2").attribute(X, START, ta.Neuron("5", 1))

    def neuron(x: Tensor) -> Tensor:
        return model[:6](x)[:, 1]

    assert_same(found.flatten(1).sum(1), (neuron(X) - neuron(START)).detach(), 1e-10)


def test_repr() -> None:
    assert repr(ta.LayerDeepLift(network(), "2", eps=0.1)) == (
        "LayerDeepLift(Sequential, layer='2', eps=0.1)"
    )


def test_zeros_where_the_target_does_not_depend_on_the_layer() -> None:
    method, before = ta.LayerDeepLift(network(), "7"), ta.Neuron("2", (3, 1))
    with refused(DisconnectedError, "LayerDeepLift", "layer '7'"):
        method.attribute(X, START, before)
    found, delta = method.attribute(
        X, START, before, return_convergence_delta=True, allow_unused=True
    )
    assert found.shape == ta.LayerActivation(network(), "7").attribute(X).shape
    assert not found.any()
    values = ta.LayerActivation(network(), "2")
    rise = (values.attribute(X) - values.attribute(START))[:, 3, 1]
    assert_same(delta, -rise)

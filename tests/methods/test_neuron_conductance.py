"""Neuron conductance against plain autograd, and as the part of integrated gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import assert_same, noise, refused
from layered import START, TARGETS, X, forked, gradient, halves, network
from torch import Tensor

import torchattr as ta
from torchattr.errors import DisconnectedError, InputTypeError

OPTIONS: dict[str, Any] = {"n_steps": 6, "method": "gausslegendre"}
SELECTORS: dict[str, Any] = {
    "one": (3, 1),
    "slice": (slice(1, 4), 2),
    "callable": lambda z: 2 * z[:, 0, 1] - z[:, 1].sum(1),
}


def chosen(z: Tensor, selector: Any) -> Tensor:
    if callable(selector):
        return selector(z)
    return z[(slice(None), *selector)].reshape(len(z), -1).sum(1)


def by_hand(model: Any, selector: Any) -> Tensor:
    before, after = halves(model)
    nodes, weights = np.polynomial.legendre.leggauss(6)
    total = torch.zeros_like(X)
    for node, weight in zip(nodes, weights, strict=True):
        point = START + (1 + node) / 2 * (X - START)
        above = gradient(after, before(point))
        passing = gradient(lambda x, above=above: chosen(before(x) * above, selector), point)
        total += weight / 2 * passing
    return (X - START) * total


@pytest.mark.parametrize("internal_batch_size", [None, 3])
@pytest.mark.parametrize("selector", SELECTORS)
def test_by_hand(selector: str, internal_batch_size: int | None) -> None:
    model = network()
    neuron = ta.Neuron("2", SELECTORS[selector])
    found = ta.NeuronConductance(model).attribute(
        X, neuron, START, TARGETS, **OPTIONS, internal_batch_size=internal_batch_size
    )
    assert_same(found, by_hand(model, SELECTORS[selector]), 1e-12)
    mean = ta.NeuronConductance(model, False).attribute(X, neuron, START, TARGETS, **OPTIONS)
    assert_same((X - START) * mean, found, 1e-12)


def test_all_neurons_together_are_integrated_gradients() -> None:
    model = network()
    whole = ta.IntegratedGradients(model).attribute(X, START, TARGETS, n_steps=6)
    method = ta.NeuronConductance(model)
    every = ta.Neuron("3", (slice(None), slice(None)), of_input=True)
    assert_same(method.attribute(X, every, START, TARGETS, **OPTIONS), whole, 1e-12)
    ones = [
        method.attribute(X, ta.Neuron("5", number), START, TARGETS, **OPTIONS)
        for number in range(4)
    ]
    assert_same(torch.stack(ones).sum(0), whole, 1e-12)


def test_several_targets() -> None:
    method, neuron = ta.NeuronConductance(network()), ta.Neuron("2", (3, 1))
    found = method.attribute(X, neuron, START, ta.Classes(2, 0), **OPTIONS)
    assert found.shape == (3, 2, 2, 6)
    assert_same(found[:, 1], method.attribute(X, neuron, START, 0, **OPTIONS), 1e-12)


def test_a_neuron_of_two_tensors() -> None:
    neuron = ta.Neuron("1", lambda pair: pair[0][:, 1] + pair[1][:, 2])
    found = ta.NeuronConductance(forked()).attribute(noise(3, 6), neuron, target=1)
    assert found.shape == (3, 6)


def test_refusals() -> None:
    method = ta.NeuronConductance(network())
    with refused(InputTypeError, "neuron must be a Neuron", "int", "ta.Neuron"):
        method.attribute(X, 3, target=1)  # type: ignore[arg-type]
    with refused(ta.TargetError, "neuron selector", "2 dimensions"):
        method.attribute(X, ta.Neuron("2", 3), target=1)
    with refused(DisconnectedError, "NeuronConductance", "layer '7'"):
        method.attribute(X, ta.Neuron("7", 1), target=ta.Neuron("2", (3, 1)))
    behind = ta.Neuron("2", (3, 1))
    found = method.attribute(X, ta.Neuron("7", 1), target=behind, allow_unused=True)
    assert torch.equal(found, torch.zeros_like(X))
    assert repr(method) == "NeuronConductance(Sequential)"

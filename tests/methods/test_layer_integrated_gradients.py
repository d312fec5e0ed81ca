"""Integrated gradients of layers' values, against those of the second half of the network."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from layered import (
    START,
    TARGETS,
    SequenceFirst,
    Twice,
    X,
    forked,
    hooks_of,
    network,
)
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import torchattr as ta
from torchattr.errors import DisconnectedError, LayerError, LayerReuseWarning


@pytest.mark.parametrize("internal_batch_size", [None, 3])
@pytest.mark.parametrize("memory", ["native", "lean"])
@pytest.mark.parametrize("by_inputs", [True, False])
def test_they_are_those_of_the_rest_of_the_network(
    by_inputs: bool, memory: Any, internal_batch_size: int | None
) -> None:
    model = network()
    ends, starts = model[:3](X).detach(), model[:3](START).detach()
    options: dict[str, Any] = {"n_steps": 6, "internal_batch_size": internal_batch_size}
    rest = ta.IntegratedGradients(model[3:], by_inputs, memory=memory)
    expected = rest.attribute(ends, starts, TARGETS, **options)
    method = ta.LayerIntegratedGradients(model, "2", by_inputs, memory=memory)
    assert_same(method.attribute(X, START, TARGETS, **options), expected, 1e-12)
    behind = ta.LayerIntegratedGradients(model, "3", by_inputs, memory=memory)
    found = behind.attribute(X, START, TARGETS, **options, attribute_to_layer_input=True)
    assert_same(found, expected, 1e-12)
    assert hooks_of(model) == []


def test_the_delta_is_that_of_the_whole_network() -> None:
    model = network()
    maps, delta = ta.LayerIntegratedGradients(model, "2").attribute(
        X, START, TARGETS, n_steps=3, return_convergence_delta=True
    )
    rise = (model(X) - model(START))[range(3), TARGETS].detach()
    assert_same(delta, maps.flatten(1).sum(1) - rise, 1e-12)


def test_several_targets() -> None:
    method = ta.LayerIntegratedGradients(network(), "2")
    found, delta = method.attribute(X, START, ta.TopK(2), return_convergence_delta=True)
    assert found.shape == (3, 2, 5, 3)
    assert float(delta.abs().max()) < 1e-10


class Branches(nn.Module):
    """Two branches whose product is the score: neither alone is a cut."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.left(x).tanh() * self.right(x))

    def rest(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head(left.tanh() * right)


def test_several_layers_go_together() -> None:
    model, x, start = seeded(Branches).double(), noise(3, 6), noise(3, 6, seed=5)
    ends = model.left(x).detach(), model.right(x).detach()
    starts = model.left(start).detach(), model.right(start).detach()
    expected = ta.IntegratedGradients(model.rest).attribute(ends, starts, 1)
    found, delta = ta.LayerIntegratedGradients(model, ["left", "right"]).attribute(
        x, start, 1, return_convergence_delta=True
    )
    assert list(found) == ["left", "right"]
    for one, other in zip(found.values(), expected, strict=True):
        assert_same(one, other, 1e-12)
    assert float(delta.abs().max()) < 1e-10


def test_what_is_beside_the_layer_stays() -> None:
    model, x = seeded(Branches).double(), noise(3, 6)
    right = model.right(x).detach()
    ends, starts = model.left(x).detach(), model.left(0 * x).detach()
    expected = ta.IntegratedGradients(lambda left: model.rest(left, right[: len(left)])).attribute(
        ends[:1], starts[:1], 1, n_steps=5, internal_batch_size=1
    )
    found = ta.LayerIntegratedGradients(model, "left").attribute(x, target=1, n_steps=5)
    assert_same(found[:1], expected, 1e-12)


def test_a_layer_of_two_tensors() -> None:
    model, x = forked(), noise(3, 6)
    ends, starts = model[:2](x), model[:2](0 * x)
    detached = [tuple(one.detach() for one in pair) for pair in (ends, starts)]
    rest = ta.IntegratedGradients(lambda a, b: model[2:]((a, b)))
    expected = rest.attribute(*detached, 1)
    found = ta.LayerIntegratedGradients(model, "1").attribute(x, target=1)
    assert isinstance(found, tuple)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other, 1e-12)


def test_only_the_calls_that_count_vary() -> None:
    model, x = seeded(Twice).double(), noise(2, 6)
    inner = model.layer(x).tanh()
    ends = inner.detach(), model.layer(inner).detach()
    inner0 = model.layer(0 * x).tanh()
    starts = model.layer(0 * x).detach(), model.layer(inner0).detach()
    last = ta.IntegratedGradients(lambda z: model.head(z.tanh()))
    with pytest.warns(LayerReuseWarning):
        found = ta.LayerIntegratedGradients(model, "layer").attribute(x, target=1)
    assert_same(found, last.attribute(ends[1], starts[1], 1), 1e-12)
    first = ta.IntegratedGradients(lambda z: model.head(model.layer(z.tanh()).tanh()))
    found = ta.LayerIntegratedGradients(model, "layer", calls="first").attribute(x, target=1)
    assert_same(found, first.attribute(model.layer(x).detach(), starts[0], 1), 1e-12)


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, numbers: Tensor) -> Tensor:
        return self.head(self.embedding(numbers).tanh().mean(1))


def test_integers_before_an_embedding() -> None:
    model, numbers = seeded(Words).double(), torch.tensor([[2, 5, 0], [1, 1, 8]])
    found, delta = ta.LayerIntegratedGradients(model, "embedding").attribute(
        numbers, target=1, return_convergence_delta=True
    )
    assert found.shape == (2, 3, 4)
    assert float(delta.abs().max()) < 1e-8


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh())
        self.head = nn.Linear(4, 3)
        self.is_on = True

    def forward(self, x: Tensor) -> Tensor:
        if not self.is_on:
            return self.head(self.block(x))
        return self.head(checkpoint(self.block, x, use_reentrant=False))


def test_a_layer_in_a_checkpointed_part() -> None:
    model, x = seeded(Checkpointed).double(), noise(3, 6)
    method = ta.LayerIntegratedGradients(model, "block.0")
    found = method.attribute(x, target=1)
    model.is_on = False
    assert_same(found, method.attribute(x, target=1), 1e-12)


def test_a_function_of_a_model_and_in_place_activations() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 3)))
    x = noise(2, 6, dtype=torch.float32)
    found = ta.LayerIntegratedGradients(lambda x: 2 * model(x), model[0]).attribute(x, target=1)
    assert_same(found, 2 * ta.LayerIntegratedGradients(model, "0").attribute(x, target=1), 1e-6)


def test_refusals() -> None:
    model = seeded(SequenceFirst).double()
    method = ta.LayerIntegratedGradients(model, "layer")
    with refused(LayerError, "first dimension is the batch, of 3", "(7, 3, 4)", "LayerConductance"):
        method.attribute(noise(3, 2, 7), target=1)
    numbers = torch.tensor([[2, 5, 0]])
    with refused(LayerError, "'embedding' has no floating values"):
        ta.LayerIntegratedGradients(seeded(Words), "embedding").attribute(
            numbers, target=1, attribute_to_layer_input=True
        )
    assert hooks_of(model) == []


def test_a_failing_forward_leaves_no_hooks() -> None:
    model = network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with refused(ta.TargetError, "out of range"):
            ta.LayerIntegratedGradients(model, "2").attribute(X, target=99)
    assert hooks_of(model) == []


def test_repr() -> None:
    shown = "LayerIntegratedGradients(Sequential, layer='2')"
    assert repr(ta.LayerIntegratedGradients(network(), "2")) == shown


class Beside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(3, 4), nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        self.spare(x)
        return self.used(x)


@pytest.mark.parametrize("internal_batch_size", [None, 3])
def test_a_neuron_before_the_layer_does_not_depend_on_it(internal_batch_size: int | None) -> None:
    model, neuron = network(), ta.Neuron("0", lambda values: values.flatten(1).sum(1))
    method = ta.LayerIntegratedGradients(model, "2")
    size: dict[str, Any] = {"internal_batch_size": internal_batch_size}
    with refused(DisconnectedError, "LayerIntegratedGradients", "cut off from layer '2'"):
        method.attribute(X, target=neuron, **size)
    found = method.attribute(X, target=neuron, allow_unused=True, **size)
    assert torch.equal(found, torch.zeros_like(model[:3](X)))


def test_zeros_where_the_target_does_not_depend_on_the_layer() -> None:
    model, x = Beside(), torch.rand(2, 3)
    method = ta.LayerIntegratedGradients(model, "spare")
    with refused(DisconnectedError, "LayerIntegratedGradients", "cut off from layer 'spare'"):
        method.attribute(x, target=1)
    found, delta = method.attribute(x, target=1, return_convergence_delta=True, allow_unused=True)
    assert torch.equal(found, torch.zeros(2, 5))
    assert_same(delta, (model(0 * x) - model(x))[:, 1].detach())
    several = method.attribute(x, target=ta.TopK(3), allow_unused=True)
    assert torch.equal(several, torch.zeros(2, 3, 5))


def test_an_unused_layer_among_several_gets_zeros_without_a_word() -> None:
    model, x = Beside(), torch.rand(2, 3)
    both = ta.LayerIntegratedGradients(model, ["used", "spare"])
    found = both.attribute(x, target=1, allow_unused=True)
    used = ta.LayerIntegratedGradients(model, "used").attribute(x, target=1)
    assert_same(found["used"], used)
    assert torch.equal(found["spare"], torch.zeros(2, 5))

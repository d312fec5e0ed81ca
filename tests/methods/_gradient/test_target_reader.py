"""Reading a target's values: from the output, or from a layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, refused
from rectified import X, network
from torch import Tensor, nn

import torchattr as ta
from torchattr.layers import Captured, Trace
from torchattr.methods import select_neuron
from torchattr.methods._gradient.target_reader import TargetReader


def read(model: nn.Module, target: Any) -> Tensor:
    reader = TargetReader(model, target)
    trace = Trace(model, (X,), (), taps=reader.taps)
    return reader.read(trace, trace.output, target).detach()


def test_classes_are_read_from_the_output() -> None:
    model = network()
    assert TargetReader(model, 1).reads_output
    assert_same(read(model, [3, 0, 1]), model(X).detach()[torch.arange(3), [3, 0, 1]])


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ((2, 1, 3), lambda a: a[:, 2, 1, 3]),
        ((2, slice(None), slice(1, 3)), lambda a: a[:, 2, :, 1:3].sum((1, 2))),
        (lambda a: a.amax((1, 2, 3)), lambda a: a.amax((1, 2, 3))),
    ],
)
def test_neurons_are_read_from_their_layer(selector: Any, expected: Any) -> None:
    model = network()
    target = ta.Neuron("0", selector)
    assert not TargetReader(model, target).reads_output
    assert_same(read(model, target), expected(model[0](X).detach()), 1e-12)


def test_neurons_of_a_layers_input() -> None:
    model = network()
    found = read(model, ta.Neuron("6", 5, of_input=True))
    assert_same(found, model[:6](X).detach()[:, 5], 1e-12)


def test_a_layer_that_did_not_run() -> None:
    model = network()
    model.register_module("spare", nn.Identity())
    with refused(ta.LayerError, "Identity did not run"):
        read(_First(model), ta.Neuron("model.spare", 0))


class _First(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model[0](x).flatten(1)


@pytest.mark.parametrize(
    ("selector", "words"),
    [
        (3, ("1 indices", "3 dimensions after the batch")),
        ((0, 0, 9), ("out of range", "(3, 6, 5, 4)")),
    ],
)
def test_selectors_that_do_not_fit(selector: Any, words: tuple[str, ...]) -> None:
    with refused(ta.TargetError, *words):
        read(network(), ta.Neuron("0", selector))


def test_a_layer_of_several_tensors_needs_a_callable() -> None:
    captured = Captured((X, 2 * X), (None, None), (0, 1))
    with refused(ta.TargetError, "2 tensors", "callable"):
        select_neuron(captured, 0)
    found = select_neuron(captured, lambda values: values[1].sum((1, 2, 3)))
    assert_same(found, 2 * X.sum((1, 2, 3)), 1e-12)

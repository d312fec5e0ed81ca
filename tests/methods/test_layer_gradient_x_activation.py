"""Gradient times activation at layers, against plain autograd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from layered import TARGETS, Joined, Pair, Twice, X, forked, gradient, halves, network
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import DisconnectedError, LayerReuseWarning


@pytest.mark.parametrize("memory", ["native", "lean"])
def test_the_gradient_times_the_values(memory: Any) -> None:
    model = network()
    before, after = halves(model)
    z = before(X).detach()
    expected = gradient(after, z)
    method = ta.LayerGradientXActivation(model, "2", memory=memory)
    assert_same(method.attribute(X, TARGETS), z * expected, 1e-12)
    assert_same(method.attribute(X, TARGETS), ta.InputXGradient(model[3:]).attribute(z, TARGETS))
    plain = ta.LayerGradientXActivation(model, "2", False, memory=memory)
    assert_same(plain.attribute(X, TARGETS), expected, 1e-12)
    behind = ta.LayerGradientXActivation(model, "3", memory=memory)
    assert_same(behind.attribute(X, TARGETS, None, True), z * expected, 1e-12)


def test_several_layers_and_targets_from_one_forward() -> None:
    model = network()
    ran = []
    model.register_forward_hook(lambda *call: ran.append(1))
    found = ta.LayerGradientXActivation(model, ["2", "5"]).attribute(X, ta.Classes(2, 0))
    assert len(ran) == 1
    assert {name: tuple(one.shape) for name, one in found.items()} == {
        "2": (3, 2, 5, 3),
        "5": (3, 2, 4),
    }
    for number, target in enumerate((2, 0)):
        alone = ta.LayerGradientXActivation(model, "2").attribute(X, target)
        assert_same(found["2"][:, number], alone, 1e-12)


def test_a_layer_of_two_tensors() -> None:
    found = ta.LayerGradientXActivation(forked(), "1").attribute(noise(3, 6), 1)
    assert [tuple(one.shape) for one in found] == [(3, 5), (3, 5)]


def test_a_layer_that_is_called_twice() -> None:
    model, x = seeded(Twice).double(), noise(2, 6)
    each = ta.LayerGradientXActivation(model, "layer", calls="each").attribute(x, 1)
    summed = ta.LayerGradientXActivation(model, "layer", calls="sum").attribute(x, 1)
    assert_same(summed, each[0] + each[1])
    with pytest.warns(LayerReuseWarning):
        assert_same(ta.LayerGradientXActivation(model, "layer").attribute(x, 1), each[1])


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(6, 3), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        self.unused(x)
        return self.used(x)


def test_a_layer_that_the_target_does_not_depend_on() -> None:
    model, x = seeded(Unused).double(), noise(2, 6)
    method = ta.LayerGradientXActivation(model, ["used", "unused"])
    with refused(DisconnectedError, "layer 'unused'", "not on the path"):
        method.attribute(x, 1)
    found = method.attribute(x, 1, allow_unused=True)
    assert torch.equal(found["unused"], torch.zeros(2, 4).double())
    assert_same(found["used"][:, 1], model(x)[:, 1].detach(), 1e-12)


def test_repr() -> None:
    method = ta.LayerGradientXActivation(nn.Sequential(Pair(), Joined()), "0", False)
    shown = "LayerGradientXActivation(Sequential, layer='0', multiply_by_inputs=False)"
    assert repr(method) == shown

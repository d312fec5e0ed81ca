"""Guided backpropagation, against plain autograd with a handwritten ReLU."""

from __future__ import annotations

import pytest
from helpers import assert_same
from rectified import X, by_autograd, network, of_each_class

import torchattr as ta


@pytest.mark.parametrize("target", range(4))
def test_rectifies_the_gradient_at_each_relu(target: int) -> None:
    model = network()
    found = ta.GuidedBackprop(model).attribute(X, target)
    assert_same(found, by_autograd(model, target, "guided"), 1e-12)


def test_several_targets_side_by_side() -> None:
    model = network()
    found = ta.GuidedBackprop(model).attribute(X, ta.Classes(range(4)))
    assert_same(found, of_each_class(model, "guided"), 1e-12)


def test_differs_from_the_gradient_and_the_deconvnet() -> None:
    model = network()
    guided = ta.GuidedBackprop(model).attribute(X, 1)
    for rule in ("gradient", "deconvolution"):
        assert (guided - by_autograd(model, 1, rule)).abs().max() > 0.01 * guided.abs().max()

"""Saliency is the gradient of plain autograd."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_same, noise
from rectified import X, by_autograd, network, of_each_class

import torchattr as ta


@pytest.mark.parametrize("target", range(4))
def test_is_the_magnitude_of_the_gradient(target: int) -> None:
    model = network()
    expected = by_autograd(model, target)
    assert_same(ta.Saliency(model).attribute(X, target), expected.abs(), 1e-12)
    assert_same(ta.Saliency(model).attribute(X, target, abs=False), expected, 1e-12)


def test_several_targets_side_by_side() -> None:
    model = network()
    found = ta.Saliency(model).attribute(X, ta.Classes(range(4)), abs=False)
    assert_same(found, of_each_class(model), 1e-12)


def test_the_default_is_the_predicted_class_of_each_example() -> None:
    model = network()
    best = model(X).argmax(1)
    expected = of_each_class(model)[torch.arange(len(X)), best].abs()
    assert_same(ta.Saliency(model).attribute(X), expected, 1e-12)


def test_a_tuple_gives_a_tuple() -> None:
    a, b = noise(2, 3), noise(2, 3, seed=2)
    found = ta.Saliency(lambda a, b: (a * b).sum(1)).attribute((a, b))
    assert isinstance(found, tuple)
    assert_same(found[0], b.abs())
    assert_same(found[1], a.abs())


def test_additional_arguments_come_fourth_as_in_captum() -> None:
    x, factor = noise(2, 3), noise(2, 3, seed=2)
    found = ta.Saliency(lambda x, factor: x * factor).attribute(x, 1, False, factor)
    assert_same(found[:, 1], factor[:, 1])

"""Internal influence against plain autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import assert_same, noise, refused
from layered import START, TARGETS, X, forked, gradient, halves, network

import torchattr as ta
from torchattr.errors import InputError


@pytest.mark.parametrize("internal_batch_size", [None, 3, 6])
@pytest.mark.parametrize("memory", ["native", "lean"])
def test_the_mean_gradient_on_the_path(memory: Any, internal_batch_size: int | None) -> None:
    model = network()
    before, after = halves(model)
    nodes, weights = np.polynomial.legendre.leggauss(7)
    points = [START + (1 + node) / 2 * (X - START) for node in nodes]
    expected = sum(
        weight / 2 * gradient(after, before(point))
        for point, weight in zip(points, weights, strict=True)
    )
    method = ta.InternalInfluence(model, "2", memory=memory)
    options: dict[str, Any] = {"n_steps": 7, "internal_batch_size": internal_batch_size}
    assert_same(method.attribute(X, START, TARGETS, **options), expected, 1e-12)
    behind = ta.InternalInfluence(model, "3", memory=memory)
    found = behind.attribute(X, START, TARGETS, **options, attribute_to_layer_input=True)
    assert_same(found, expected, 1e-12)


def test_several_targets_and_layers() -> None:
    model = network()
    found = ta.InternalInfluence(model, ["2", "5"]).attribute(X, START, ta.Classes(2, 0), n_steps=5)
    assert found["2"].shape == (3, 2, 5, 3)
    alone = ta.InternalInfluence(model, "5").attribute(X, START, 0, n_steps=5)
    assert_same(found["5"][:, 1], alone, 1e-12)


def test_a_layer_of_two_tensors() -> None:
    found = ta.InternalInfluence(forked(), "1").attribute(noise(3, 6), target=1)
    assert [tuple(one.shape) for one in found] == [(3, 5), (3, 5)]


def test_bad_arguments() -> None:
    method = ta.InternalInfluence(network(), "2")
    with refused(InputError, "method", "'simpson'", "'gausslegendre'"):
        method.attribute(X, method="simpson")
    with refused(InputError, "n_steps", "at least 1", "0"):
        method.attribute(X, n_steps=0)
    assert repr(method) == "InternalInfluence(Sequential, layer='2')"

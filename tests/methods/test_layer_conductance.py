"""Layer conductance against plain autograd, and as what sums to the score."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from helpers import assert_same, noise, refused, seeded
from layered import START, TARGETS, SequenceFirst, X, forked, gradient, halves, network

import torchattr as ta
from torchattr.errors import InputError


def expected(model: Any, count: int) -> Any:
    before, after = halves(model)
    nodes = np.polynomial.legendre.leggauss(count + 1)[0]
    points = [START + (1 + node) / 2 * (X - START) for node in nodes]
    values = [before(point).detach() for point in points]
    return sum(gradient(after, one) * (following - one) for one, following in pairwise(values))


@pytest.mark.parametrize("internal_batch_size", [None, 3, 6, 9])
@pytest.mark.parametrize("memory", ["native", "lean"])
def test_steps_on_the_path(memory: Any, internal_batch_size: int | None) -> None:
    model = network()
    method = ta.LayerConductance(model, "2", memory=memory)
    options: dict[str, Any] = {"n_steps": 7, "internal_batch_size": internal_batch_size}
    found = method.attribute(X, START, TARGETS, **options)
    assert_same(found, expected(model, 7), 1e-12)


def test_the_sum_approaches_the_rise_of_the_score() -> None:
    model = network()
    method = ta.LayerConductance(model, ["2", "5"])
    errors = []
    for count in (20, 200):
        _, deltas = method.attribute(
            X,
            START,
            TARGETS,
            n_steps=count,
            method="riemann_trapezoid",
            return_convergence_delta=True,
        )
        assert list(deltas) == ["2", "5"]
        errors.append(max(float(delta.abs().max()) for delta in deltas.values()))
    assert errors[1] < 0.15 * errors[0] < 0.01


def test_the_delta_is_that_of_the_sum() -> None:
    model = network()
    maps, delta = ta.LayerConductance(model, "2").attribute(
        X, START, TARGETS, n_steps=4, return_convergence_delta=True
    )
    rise = (model(X) - model(START))[range(3), TARGETS].detach()
    assert_same(delta, maps.flatten(1).sum(1) - rise, 1e-12)
    method = ta.LayerConductance(model, "2")
    assert_same(method.compute_convergence_delta(maps, START, X, TARGETS), delta, 1e-12)


@pytest.mark.parametrize("internal_batch_size", [None, 3])
def test_several_targets(internal_batch_size: int | None) -> None:
    method = ta.LayerConductance(network(), "2")
    options: dict[str, Any] = {"n_steps": 5, "internal_batch_size": internal_batch_size}
    found, delta = method.attribute(
        X, START, ta.Classes(2, 0), **options, return_convergence_delta=True
    )
    assert found.shape == (3, 2, 4 + 1, 3)
    assert delta.shape == (3, 2)
    assert_same(found[:, 1], method.attribute(X, START, 0, **options), 1e-12)


def test_a_layer_that_does_not_have_the_batch_first_runs_one_copy_at_a_time() -> None:
    model, x = seeded(SequenceFirst).double(), noise(2, 2, 64)
    method = ta.LayerConductance(model, "layer")
    whole = method.attribute(x, target=1, n_steps=6)
    assert whole.shape == (64, 2, 4)
    alone = [method.attribute(x[n : n + 1], target=1, n_steps=6) for n in range(2)]
    assert_same(whole[:, 0], alone[0][:, 0], 1e-12)
    assert_same(whole[:, 1], alone[1][:, 0], 1e-12)


def test_a_layer_of_two_tensors() -> None:
    found, delta = ta.LayerConductance(forked(), "1").attribute(
        noise(3, 6), target=1, n_steps=400, return_convergence_delta=True
    )
    assert [tuple(one.shape) for one in found] == [(3, 5), (3, 5)]
    assert float(delta.abs().max()) < 0.02


def test_bad_arguments() -> None:
    method = ta.LayerConductance(network(), "2")
    with refused(InputError, "n_steps", "at least 1", "0"):
        method.attribute(X, n_steps=0)
    assert repr(method) == "LayerConductance(Sequential, layer='2')"

"""Gradient SHAP at layers against plain autograd at the same draws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused
from layered import TARGETS, X, forked, gradient, halves, network
from torch import nn

import torchattr as ta
from torchattr.core.inputs import as_inputs
from torchattr.errors import InputError
from torchattr.methods._gradient.baselines import BaselineRows
from torchattr.methods._perturbation.path_samples import PathSamples

ROWS = noise(5, 2, 6, seed=9)


@pytest.mark.parametrize("internal_batch_size", [None, 3])
@pytest.mark.parametrize("stdevs", [0.0, 0.3])
@pytest.mark.parametrize("by_inputs", [True, False])
def test_the_mean_over_the_draws(
    by_inputs: bool, stdevs: float, internal_batch_size: int | None
) -> None:
    model = network()
    before, after = halves(model)
    given = as_inputs(X)
    samples = PathSamples(given, BaselineRows(ROWS, given), [stdevs], [3]).drawn(0, 6)
    products, rises = [], []
    for start, end, point in zip(
        samples.starts[0], samples.ends[0], samples.points[0], strict=True
    ):
        rise = before(end) - before(start)
        products.append(gradient(after, before(point)) * (rise.detach() if by_inputs else 1))
        scores = model(end) - model(start)
        rises.append(scores[range(3), TARGETS].detach())
    found, delta = ta.LayerGradientShap(model, "2", by_inputs).attribute(
        X,
        ROWS,
        6,
        stdevs,
        TARGETS,
        return_convergence_delta=True,
        seed=3,
        internal_batch_size=internal_batch_size,
    )
    assert_same(found, torch.stack(products).mean(0), 1e-12)
    missed = torch.stack(products).flatten(2).sum(2) - torch.stack(rises)
    assert_same(delta, missed.T.flatten(), 1e-10)


def test_a_linear_layer_gives_what_the_input_does() -> None:
    """The straight path of the input is that of the layer, too."""
    model = nn.Sequential(nn.Linear(12, 12, bias=False), nn.Tanh(), nn.Linear(12, 3)).double()
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(12))
    x, rows = X.flatten(1), ROWS.flatten(1)
    at_layer = ta.LayerGradientShap(model, "0").attribute(x, rows, target=1)
    assert_same(at_layer, ta.GradientShap(model).attribute(x, rows, target=1), 1e-12)


def test_several_layers_and_targets() -> None:
    options: dict[str, Any] = {"n_samples": 4, "return_convergence_delta": True}
    found, deltas = ta.LayerGradientShap(network(), ["2", "5"]).attribute(
        X, ROWS, target=ta.Classes(2, 0), **options
    )
    assert found["2"].shape == (3, 2, 5, 3)
    assert {name: tuple(delta.shape) for name, delta in deltas.items()} == {
        "2": (12, 2),
        "5": (12, 2),
    }
    alone, delta = ta.LayerGradientShap(network(), "5").attribute(X, ROWS, target=0, **options)
    assert_same(found["5"][:, 1], alone, 1e-12)
    assert_same(deltas["5"][:, 1], delta, 1e-10)


def test_a_layer_of_two_tensors() -> None:
    found = ta.LayerGradientShap(forked(), "1").attribute(noise(3, 6), noise(4, 6), target=1)
    assert [tuple(one.shape) for one in found] == [(3, 5), (3, 5)]


def test_bad_arguments() -> None:
    method = ta.LayerGradientShap(network(), "2")
    with refused(InputError, "n_samples", "at least 1"):
        method.attribute(X, n_samples=0)
    with refused(ta.ShapeError, "seed has 2 entries for a batch of 3"):
        method.attribute(X, seed=[1, 2])
    assert repr(method) == "LayerGradientShap(Sequential, layer='2')"

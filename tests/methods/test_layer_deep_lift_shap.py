"""DeepLIFT at layers, averaged over baselines."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from layered import TARGETS, SequenceFirst, X, forked, network

import torchattr as ta
from torchattr.errors import LayerError

ROWS = noise(4, 2, 6, seed=9)


@pytest.mark.parametrize("internal_batch_size", [None, 1, 5])
@pytest.mark.parametrize("by_inputs", [True, False])
def test_it_is_the_mean_of_those_of_each_baseline(
    by_inputs: bool, internal_batch_size: int | None
) -> None:
    model = network()
    single = ta.LayerDeepLift(model, "2", by_inputs)
    pairs = [single.attribute(X, row[None], TARGETS, return_convergence_delta=True) for row in ROWS]
    found, delta = ta.LayerDeepLiftShap(model, "2", by_inputs).attribute(
        X,
        ROWS,
        TARGETS,
        return_convergence_delta=True,
        internal_batch_size=internal_batch_size,
    )
    assert_same(found, torch.stack([maps for maps, _ in pairs]).mean(0), 1e-12)
    assert delta.shape == (12,)
    assert float(delta.abs().max()) < 1e-12


def test_several_layers_and_targets() -> None:
    options: dict[str, Any] = {"return_convergence_delta": True}
    found, deltas = ta.LayerDeepLiftShap(network(), ["2", "5"]).attribute(
        X, ROWS, ta.Classes(2, 0), **options
    )
    assert found["2"].shape == (3, 2, 5, 3)
    assert {name: tuple(delta.shape) for name, delta in deltas.items()} == {
        "2": (12, 2),
        "5": (12, 2),
    }
    alone = ta.LayerDeepLiftShap(network(), "5").attribute(X, ROWS, 0)
    assert_same(found["5"][:, 1], alone, 1e-12)


def test_a_layer_of_two_tensors() -> None:
    found = ta.LayerDeepLiftShap(forked(), "1").attribute(noise(3, 6), noise(4, 6), 1)
    assert [tuple(one.shape) for one in found] == [(3, 5), (3, 5)]


def test_a_layer_that_does_not_have_the_batch_first_is_refused() -> None:
    method = ta.LayerDeepLiftShap(seeded(SequenceFirst).double(), "layer")
    with refused(LayerError, "first dimension is not that of the batch"):
        method.attribute(noise(3, 2, 7), noise(4, 2, 7), 1)


def test_repr() -> None:
    shown = "LayerDeepLiftShap(Sequential, layer='2')"
    assert repr(ta.LayerDeepLiftShap(network(), "2")) == shown

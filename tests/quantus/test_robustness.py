from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from asked import ASKED, X, Y, maps, model
from helpers import assert_same, refused
from torch import Tensor

from torchattr import evaluate, quantus
from torchattr.errors import InputError
from torchattr.quantus.normalising import by_largest

NET = model()
x, y = torch.from_numpy(X), torch.from_numpy(Y)


def product(inputs: Tensor, target: Tensor) -> Tensor:
    return maps(NET, inputs, target)


def scores(metric: quantus.Metric, **options: Any) -> Tensor:
    return torch.tensor(metric(NET, X, Y, **{**ASKED, **options}), dtype=torch.float64)


def test_sensitivity_is_that_of_evaluate() -> None:
    options = {"radius": 0.2, "n_samples": 5, "target": y}
    for metric, function in (
        (quantus.MaxSensitivity, evaluate.sensitivity_max),
        (quantus.AvgSensitivity, evaluate.sensitivity_average),
    ):
        assert_same(scores(metric(nr_samples=5)), function(product, x, **options), 1e-9)
        wide = function(product, x, **{**options, "radius": 0.7})
        assert_same(scores(metric(nr_samples=5, lower_bound=0.7)), wide, 1e-9)


def test_the_slope_is_that_of_normalised_maps() -> None:
    def normalised(inputs: Tensor, target: Tensor) -> Tensor:
        return by_largest(product(inputs, target))

    options = {"radius": 0.1, "noise": "normal", "n_samples": 5, "target": y}
    expected = evaluate.local_lipschitz(normalised, x, **options)
    assert_same(scores(quantus.LocalLipschitzEstimate(nr_samples=5)), expected, 1e-9)


@pytest.mark.parametrize("name", ["input", "output", "representation"])
def test_stability_is_that_of_evaluate(name: str) -> None:
    metric = getattr(quantus, f"Relative{name.capitalize()}Stability")
    options: dict[str, Any] = {"radius": 0.2, "n_samples": 5, "target": y, "model": NET}
    if name == "representation":
        options["layer"] = slice(None)
    function = getattr(evaluate, f"relative_{name}_stability")
    assert_same(scores(metric(nr_samples=5)), function(product, x, **options), 1e-9)
    every = scores(metric(nr_samples=5, return_nan_when_prediction_changes=False))
    assert_same(every, function(product, x, **options, keep_prediction=False), 1e-9)


def test_layers_are_named_or_numbered_as_in_quantus() -> None:
    metric = quantus.RelativeRepresentationStability
    named = scores(metric(nr_samples=3, layer_names=["0", "2"]))
    # Number 0 is the model itself.
    assert_same(scores(metric(nr_samples=3, layer_indices=[1, 3])), named)
    with refused(InputError, "pass one of them"):
        scores(metric(layer_names=["0"], layer_indices=[1]))


def test_scores_of_the_output_may_be_probabilities() -> None:
    raw = scores(quantus.RelativeOutputStability(nr_samples=3))
    scaled = scores(quantus.RelativeOutputStability(nr_samples=3), softmax=True)
    options = {"radius": 0.2, "n_samples": 3, "target": y}
    expected = evaluate.relative_output_stability(
        product, x, model=lambda x: NET(x).softmax(1), **options
    )
    assert_same(scaled, expected, 1e-9)
    assert bool((scaled > raw).all())


def test_perturbations_of_users_get_arrays() -> None:
    def brightened(arr: np.ndarray, indices: np.ndarray, by: float, **other: float) -> np.ndarray:
        assert indices.shape == arr.shape == (8, 192)
        assert other == {"lower_bound": 0.2}
        return arr + by

    metric = quantus.MaxSensitivity(
        nr_samples=2, perturb_func=brightened, perturb_func_kwargs={"by": 0.5}
    )
    change = (product(x + 0.5, y) - product(x, y)).flatten(1).norm(dim=1)
    assert_same(scores(metric), change / product(x, y).flatten(1).norm(dim=1), 1e-9)


def test_continuity_is_that_of_normalised_magnitudes() -> None:
    def magnitudes(inputs: Tensor, target: Tensor) -> Tensor:
        return by_largest(product(inputs, target)).abs()

    black = x.flatten(1).amin(1).reshape(4, 1, 1, 1)
    expected = evaluate.continuity(magnitudes, x, steps=6, fill=black, target=y)
    assert_same(scores(quantus.Continuity(nr_steps=6)), expected, 1e-9)


def test_consistency_counts_equal_predictions() -> None:
    predictions = NET(x).argmax(1)
    metric = quantus.Consistency(discretise_func=lambda row: hash(bytes(np.sign(row[:0]))))
    expected = [float((predictions == one).sum() - 1) / 3 for one in predictions]
    assert_same(scores(metric), torch.tensor(expected, dtype=torch.float64), 1e-12)
    twice = np.concatenate([X, X])
    given = {"a_batch": np.concatenate([X, X])[:, :1]}
    assert quantus.Consistency()(NET, twice, np.concatenate([Y, Y]), **given) == [1.0] * 8

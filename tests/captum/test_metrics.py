"""Metrics and statistics against Captum's own, on the same perturbations."""

from __future__ import annotations

from typing import Any

import captum.attr
import captum.metrics
import pytest
import torch
from helpers import assert_same, noise, seeded
from torch import Tensor, nn

import torchattr.captum as ours
from torchattr.captum import metrics

# Captum sets flags of inputs, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already")

X = noise(3, 4)
NET = seeded(lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))).double()


def scaled(inputs: Any, baselines: Any = None) -> Any:
    """Shrink each row by another share, towards 0."""
    share = torch.linspace(0.1, 0.9, len(inputs), dtype=inputs.dtype)[:, None]
    return share * inputs


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("multiply", [False, True])
@pytest.mark.parametrize("batch", [None, 6])
def test_infidelity_is_captums(multiply: bool, normalize: bool, batch: int | None) -> None:
    values = []
    for library in (metrics, captum.metrics):
        perturb = library.infidelity_perturb_func_decorator(multiply)(scaled)
        options = {"target": [0, 2, 1], "n_perturb_samples": 4, "max_examples_per_batch": batch}
        if batch is None:
            options["max_examples_per_batch"] = 12
        found = library.infidelity(NET, perturb, X, 2 * X, normalize=normalize, **options)
        values.append(found.detach())
    assert_same(values[0], values[1], 1e-10)


@pytest.mark.parametrize("norm", ["fro", 1, float("inf")])
@pytest.mark.parametrize("batch", [12, 3])
def test_sensitivity_is_captums(norm: Any, batch: int) -> None:
    def perturb(inputs: Any, radius: float) -> Tensor:
        inputs = inputs[0] if isinstance(inputs, tuple) else inputs
        shift = torch.linspace(-1, 1, len(inputs), dtype=inputs.dtype)[:, None]
        return inputs + radius * shift

    options = {"n_perturb_samples": 4, "max_examples_per_batch": batch, "target": [0, 2, 1]}
    found = [
        library.sensitivity_max(explain, X, perturb, perturb_radius=0.1, norm_ord=norm, **options)
        for library, explain in (
            (metrics, ours.Saliency(NET).attribute),
            (captum.metrics, captum.attr.Saliency(NET).attribute),
        )
    ]
    assert_same(found[0], found[1], 1e-10)


def test_statistics_are_captums() -> None:
    values = [(noise(3, seed=n), 10 * noise(2, 2, seed=n)) for n in range(6)]
    summaries = []
    for library in (ours, captum.attr):
        stats = [*library.CommonStats(), library.Sum(), library.MSE(), library.Count()]
        summarizer = library.Summarizer([*stats, library.Var(), library.StdDev()])
        for value in values:
            summarizer.update(value)
        summaries.append(summarizer.summary)
    for own, theirs in zip(*summaries, strict=True):
        assert own.keys() == theirs.keys()
        for name, value in theirs.items():
            if name == "count":
                assert own[name] == value
            else:
                assert_same(own[name], value, 1e-10)


def test_summaries_of_classes_are_captums() -> None:
    found = []
    for library in (ours, captum.attr):
        summarizer = library.ClassSummarizer(library.CommonStats())
        summarizer.update(X, ["a", "b", "a"])
        found.append(summarizer.class_summaries["a"][0]["mean"])
    assert_same(found[0], found[1], 1e-12)

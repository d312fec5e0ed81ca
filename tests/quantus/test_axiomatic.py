from __future__ import annotations

import numpy as np
import torch
from asked import ASKED, X, Y, model
from helpers import refused, seeded
from torch import nn

import torchattr as ta
from torchattr import evaluate, quantus
from torchattr.errors import InputError
from torchattr.quantus.features import elements
from torchattr.quantus.normalising import by_largest

NET = model()
x, y = torch.from_numpy(X), torch.from_numpy(Y)


def test_complete_maps_are_told_from_others() -> None:
    linear = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 5))).double()
    black = x.flatten(1).amin(1).reshape(4, 1, 1, 1)
    whole = ((x - black) * ta.Saliency(linear).attribute(x, y, abs=False)).numpy()
    assert quantus.Completeness()(linear, X, Y, whole) == [True] * 4
    assert quantus.Completeness()(linear, X, Y, 1.005 * whole) == [True] * 4
    assert quantus.Completeness()(linear, X, Y, 1.02 * whole) == [False] * 4
    white = quantus.Completeness(perturb_baseline="white")(linear, X, Y, whole)
    assert white == [False] * 4
    # Not of probabilities, but of raw scores.
    assert quantus.Completeness()(linear, X, Y, whole, softmax=True) == [False] * 4
    with refused(InputError, "abs", "do not add up"):
        quantus.Completeness(abs=True)


def test_non_sensitivity_is_that_of_elements() -> None:
    given = X.copy()
    given[:, :, :4] = 0
    found = quantus.NonSensitivity(features_in_step=8, eps=0.01)(NET, X, Y, given)
    expected = evaluate.non_sensitivity(
        NET,
        x,
        by_largest(torch.from_numpy(given)),
        y,
        threshold=0.01,
        baselines=x.flatten(1).amin(1).reshape(4, 1, 1, 1),
        feature_mask=elements(x, 8),
        activation="softmax",
    )
    assert found == expected.tolist()
    assert 0 < sum(found) < 4 * 24


def test_invariant_methods_are_told_from_others() -> None:
    assert quantus.InputInvariance()(NET, X, Y, explain_func="saliency") == [True] * 4
    assert quantus.InputInvariance()(NET, X, Y, **ASKED) == [False] * 4
    moved = quantus.InputInvariance(input_shift=0.0)(NET, X, Y, **ASKED)
    assert moved == [True] * 4
    assert quantus.InputInvariance()(NET, X, Y, explain_func=ta.Saliency(NET)) == [True] * 4


def test_functions_are_given_the_shifted_model() -> None:
    seen: list[nn.Module] = []

    def explained(model: nn.Module, inputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        seen.append(model)
        found: np.ndarray = model(torch.from_numpy(inputs)).detach().numpy()
        return np.repeat(found[:, :1], 64, 1).reshape(-1, 1, 8, 8)

    assert quantus.InputInvariance()(NET, X, Y, explain_func=explained) == [True] * 4
    assert seen[0] is NET
    assert seen[-1] is not NET

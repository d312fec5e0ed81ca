"""Completeness and non-sensitivity, against their definitions one example and feature at a time."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from measured import SmallNet
from torch import Tensor

import torchattr as ta
from torchattr.core.inputs import as_inputs
from torchattr.errors import InputError, OutputError, ShapeError, UndefinedMetricWarning
from torchattr.evaluate import completeness, non_sensitivity
from torchattr.evaluate.replacement import UniformNoise

X = noise(3, 2, 6, 8)
MAPS = noise(3, 2, 6, 8, seed=2)


def net() -> SmallNet:
    made = seeded(SmallNet).double()
    assert isinstance(made, SmallNet)
    return made


def score(model: SmallNet, x: Tensor, target: int) -> float:
    return float(model(x[None])[0, target].detach())


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("base", [None, 0, 0.5, X.mean(0, keepdim=True), 2 * X])
def test_completeness_is_its_definition(base: Tensor | float | None, relative: bool) -> None:
    model, targets = net(), [2, 0, 1]
    expected = []
    for number, (x, own, target) in enumerate(zip(X, MAPS, targets, strict=True)):
        difference = score(model, x, target)
        if base is not None:
            whole = torch.as_tensor(base, dtype=X.dtype).expand_as(X)
            difference -= score(model, whole[number], target)
        residual = sum(own.flatten().tolist()) - difference
        expected.append(residual / abs(difference) if relative else residual)
    found = completeness(model, X, MAPS, targets, baselines=base, relative=relative)
    assert_same(found, torch.tensor(expected, dtype=torch.float64), 1e-10)


def test_complete_methods_leave_nothing() -> None:
    model = net()
    linear = seeded(lambda: torch.nn.Linear(5, 3)).double()
    x = noise(2, 5)
    residual = completeness(linear, x, ta.InputXGradient(linear).attribute(x, 1), 1)
    assert float(residual.abs().max()) < 1e-12
    integrated = ta.IntegratedGradients(model).attribute(X, target=1, n_steps=500)
    assert float(completeness(model, X, integrated, 1, relative=True).abs().max()) < 1e-2


def test_the_ledger_has_the_residual_of_relevance() -> None:
    model = net()
    relevance, ledgers = ta.LRP(model, "zero").attribute(X, 1, return_ledger=True)
    residual = completeness(model, X, relevance, 1, baselines=None)
    stayed = torch.tensor([one.inputs - one.score for one in ledgers], dtype=torch.float64)
    assert_same(residual, stayed, 1e-9)


def test_several_targets_and_inputs() -> None:
    model = net()
    maps = noise(3, 2, 2, 6, 8, seed=4)
    found = completeness(model, X, maps, ta.TopK(2))
    best = model(X).topk(2).indices
    for k in range(2):
        assert_same(found[:, k], completeness(model, X, maps[:, k], best[:, k]), 1e-12)

    def both(a: Tensor, b: Tensor) -> Tensor:
        return torch.stack([a.sum(1), b.sum(1)], 1)

    a, b = noise(3, 4), noise(3, 5)
    zeros = completeness(both, (a, b), (a, torch.zeros_like(b)), 0)
    assert float(zeros.abs().max()) < 1e-12


def test_no_difference_has_no_share() -> None:
    with pytest.warns(UndefinedMetricWarning, match="does not differ") as caught:
        found = completeness(lambda x: x * 0 + 1, noise(2, 1), noise(2, 1), 0, relative=True)
    assert len(caught) == 1
    assert bool(found.isnan().all())


def test_nothing_given_is_changed() -> None:
    model, x, maps = net(), X.clone(), MAPS.clone()
    completeness(model, x, maps, 1)
    non_sensitivity(model, x, maps, 1, n_samples=1)
    assert torch.equal(x, X)
    assert torch.equal(maps, MAPS)


def blind_model(x: Tensor) -> Tensor:
    """Two scores of rows of six that do not depend on the first two elements, nor on the last."""
    hidden = torch.tanh(x[:, 2:5]) + x[:, 2:3] * x[:, 3:4]
    return torch.stack([hidden.sum(1), hidden[:, 0] - hidden[:, 2]], 1)


@pytest.mark.parametrize("threshold", [1e-5, 0.3])
def test_non_sensitivity_is_its_definition(threshold: float) -> None:
    x, maps = noise(3, 6), noise(3, 6, seed=2)
    maps[0, :2] = 0
    maps[1, 3] = 0
    drawn = [UniformNoise(as_inputs(x), 7).sample(number)[0] for number in range(3)]
    expected = []
    for n in range(3):
        clean, count = float(blind_model(x[n : n + 1])[0, 1]), 0
        for i in range(6):
            squares = []
            for values in drawn:
                changed = x[n : n + 1].clone()
                changed[0, i] = values[n, i]
                squares.append((clean - float(blind_model(changed)[0, 1])) ** 2)
            idle = (sum(squares) / 3) ** 0.5 <= threshold * abs(clean)
            silent = abs(float(maps[n, i])) <= threshold * float(maps[n].abs().max())
            count += idle != silent
        expected.append(count)
    found = non_sensitivity(blind_model, x, maps, 1, n_samples=3, seed=7, threshold=threshold)
    assert found.tolist() == expected
    assert 0 < sum(expected) < 18


def test_a_feature_that_has_the_baseline_is_not_without_effect() -> None:
    x = torch.tensor([[0.0, 2.0, 1.0]], dtype=torch.float64)
    weights = torch.tensor([[1.0], [1.0], [1.0]], dtype=torch.float64)
    maps = torch.tensor([[1.0, 1.0, 1.0]])
    assert non_sensitivity(lambda x: x @ weights, x, maps).tolist() == [0]
    assert non_sensitivity(lambda x: x @ weights, x, maps, baselines=0).tolist() == [1]


def test_features_and_several_targets() -> None:
    segments = torch.arange(4).reshape(1, 1, 2, 2).repeat_interleave(3, 2).repeat_interleave(4, 3)
    model = net()
    found = non_sensitivity(model, X, noise(3, 2, 2, 6, 8), ta.TopK(2), feature_mask=segments)
    assert found.tolist() == [[0, 0]] * 3
    zeros = torch.zeros(3, 1, 6, 8, dtype=torch.float64)
    assert non_sensitivity(model, X, zeros, feature_mask=segments).tolist() == [4] * 3


def test_wrong_arguments_are_refused() -> None:
    model = net()
    with refused(ShapeError, "attributions", "(2, 6, 8)", "(3,)"):
        completeness(model, X, MAPS[0], 1)
    with refused(InputError, "NaN or infinite"):
        completeness(model, X, MAPS * torch.nan, 1)
    with refused(InputError, "NaN or infinite"):
        non_sensitivity(model, X, MAPS * torch.nan, 1)
    with refused(OutputError, "own score", "1 values"):
        completeness(lambda x: x.sum(), X, MAPS)
    with refused(InputError, "threshold", "1"):
        non_sensitivity(model, X, MAPS, threshold=1)
    with refused(InputError, "n_samples", "0"):
        non_sensitivity(model, X, MAPS, n_samples=0)

"""Faithfulness metrics, against loops written from the papers."""

from __future__ import annotations

import itertools
import statistics
from typing import Any

import numpy as np
import pytest
import torch
from helpers import refused, seeded
from measured import SmallNet, ranks
from torch import Tensor

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, UndefinedMetricWarning
from torchattr.evaluate import (
    faithfulness_correlation,
    faithfulness_estimate,
    sensitivity_n,
    single_deletion,
)
from torchattr.methods import SeededDraws

MODEL = seeded(SmallNet).double()
GENERATOR = torch.Generator().manual_seed(3)
X = torch.rand(2, 2, 6, 8, generator=GENERATOR, dtype=torch.float64)
MAPS = torch.randn(2, 2, 6, 8, generator=GENERATOR, dtype=torch.float64)
CELLS = (torch.arange(6)[:, None] // 2 * 4 + torch.arange(8) // 2).reshape(1, 1, 6, 8)


def score(x: Tensor, target: int) -> float:
    return MODEL(x[None])[0, target].item()


def without(x: Tensor, numbers: Any, mask: Tensor, baseline: float) -> Tensor:
    changed = x.clone()
    for number in numbers:
        changed[:, mask == number] = baseline
    return changed


@pytest.mark.parametrize("kind", ["pearson", "spearman"])
@pytest.mark.parametrize("baseline", [0, 0.4])
def test_single_deletion_equals_a_literal_loop(kind: str, baseline: float) -> None:
    found = single_deletion(
        MODEL, X, MAPS, [1, 2], feature_mask=CELLS, baselines=baseline, correlation=kind
    )
    for n, target in enumerate([1, 2]):
        worth = [MAPS[n][:, CELLS[0, 0] == k].sum().item() for k in range(12)]
        loss = [
            score(X[n], target) - score(without(X[n], [k], CELLS[0, 0], baseline), target)
            for k in range(12)
        ]
        if kind == "spearman":
            worth, loss = ranks(worth), ranks(loss)
        assert found[n].item() == pytest.approx(statistics.correlation(worth, loss), abs=1e-10)


def test_examples_with_features_of_their_own() -> None:
    columns = torch.arange(8).expand(1, 1, 6, 8) * 10
    rows = torch.arange(6).reshape(1, 1, 6, 1).expand(1, 1, 6, 8) * 10
    found = single_deletion(MODEL, X, MAPS, 1, feature_mask=torch.cat([columns, rows]))
    for n, mask in enumerate([columns, rows]):
        one = single_deletion(MODEL, X[n : n + 1], MAPS[n : n + 1], 1, feature_mask=mask)
        assert found[n].item() == pytest.approx(one.item(), abs=1e-10)


def all_subsets(n: int, target: int, size: int) -> float:
    worth, loss = [], []
    for chosen in itertools.combinations(range(12), size):
        worth.append(sum(MAPS[n][:, CELLS[0, 0] == k].sum().item() for k in chosen))
        loss.append(score(X[n], target) - score(without(X[n], chosen, CELLS[0, 0], 0), target))
    return statistics.correlation(worth, loss)


def test_random_sets_come_near_to_all_sets() -> None:
    options: dict[str, Any] = {"feature_mask": CELLS, "n_samples": 4000}
    found = sensitivity_n(MODEL, X, MAPS, 1, sizes=(1, 3, 0.75), **options)
    assert found.shape == (2, 3)
    for n in range(2):
        for position, size in enumerate((1, 3, 9)):
            # Five standard deviations of a correlation of so many sets.
            assert abs(found[n, position].item() - all_subsets(n, 1, size)) < 5 / 4000**0.5
    one = faithfulness_correlation(MODEL, X, MAPS, 1, subset_size=3, **options)
    assert torch.equal(one, found[:, 1])


def test_the_sets_are_those_of_the_seed_in_any_batch() -> None:
    options: dict[str, Any] = {"feature_mask": CELLS, "subset_size": 4, "n_samples": 20}
    found = faithfulness_correlation(MODEL, X, MAPS, 1, **options)
    again = faithfulness_correlation(MODEL, X.flip(0), MAPS.flip(0), 1, **options)
    assert found.tolist() == pytest.approx(again.flip(0).tolist(), abs=1e-12)
    other = faithfulness_correlation(MODEL, X, MAPS, 1, seed=1, **options)
    assert (found - other).abs().min() > 1e-6


@pytest.mark.parametrize("metric", [single_deletion, faithfulness_correlation, sensitivity_n])
def test_several_targets_have_maps_of_their_own(metric: Any) -> None:
    maps = torch.stack([MAPS, MAPS.flip(-1)], 1)
    together = metric(MODEL, X, maps, ta.Classes(2, 0), feature_mask=CELLS)
    for position, target in enumerate([2, 0]):
        one = metric(MODEL, X, maps[:, position], target, feature_mask=CELLS)
        assert torch.allclose(together[:, position], one, rtol=0, atol=1e-10)


def test_the_true_worth_of_a_linear_model_is_found_by_all() -> None:
    weights = torch.randn(1, 6, generator=GENERATOR, dtype=torch.float64)
    x = torch.rand(3, 6, generator=GENERATOR, dtype=torch.float64)

    def model(rows: Tensor) -> Tensor:
        return rows @ weights.T

    worth = x * weights
    for found in (
        single_deletion(model, x, worth, 0),
        single_deletion(model, x, worth, 0, correlation="pearson"),
        sensitivity_n(model, x, worth, 0, sizes=(1, 2, 5)).amin(1),
        -single_deletion(model, x, -worth, 0),
    ):
        assert torch.allclose(found, torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("mask", [CELLS, torch.cat([CELLS, CELLS % 5])])
def test_the_estimate_is_pearsons(mask: Tensor) -> None:
    found = faithfulness_estimate(MODEL, X, MAPS, 1, feature_mask=mask)
    for n in range(2):
        own = mask[n % len(mask), 0]
        numbers = own.unique().tolist()
        worth = [MAPS[n][:, own == k].sum().item() for k in numbers]
        loss = [score(X[n], 1) - score(without(X[n], [k], own, 0), 1) for k in numbers]
        assert found[n].item() == pytest.approx(statistics.correlation(worth, loss), abs=1e-10)


@pytest.mark.parametrize("size", [3, 0.25])
def test_sets_equal_a_literal_loop(size: Any) -> None:
    """The sets are those of the seed: the first features of random orders."""
    draws = SeededDraws([7]).orders(9, torch.ones(1, 12, dtype=torch.bool), 2)[:, 0]
    options: dict[str, Any] = {"feature_mask": CELLS, "n_samples": 9, "seed": 7}
    found = faithfulness_correlation(MODEL, X, MAPS, 1, subset_size=size, **options)
    for n in range(2):
        worth, loss = [], []
        for order in draws:
            chosen = [k for k in range(12) if order[k] < 3]
            worth.append(sum(MAPS[n][:, CELLS[0, 0] == k].sum().item() for k in chosen))
            loss.append(score(X[n], 1) - score(without(X[n], chosen, CELLS[0, 0], 0), 1))
        assert found[n].item() == pytest.approx(statistics.correlation(worth, loss), abs=1e-10)


@pytest.mark.parametrize("metric", [single_deletion, faithfulness_estimate, sensitivity_n])
def test_arguments_stay_as_they_are(metric: Any) -> None:
    before = X.clone(), MAPS.clone(), CELLS.clone()
    metric(MODEL, X, MAPS, 1, feature_mask=CELLS)
    assert all(map(torch.equal, before, (X, MAPS, CELLS)))
    (alone,) = metric(MODEL, X[:1], MAPS[:1], 1, feature_mask=CELLS).reshape(1, -1)
    together = metric(MODEL, X, MAPS, 1, feature_mask=CELLS).reshape(2, -1)
    assert torch.allclose(alone, together[0], rtol=0, atol=1e-10)


def test_where_it_is_undefined() -> None:
    even = torch.ones_like(MAPS)
    even[1, 0, 0, 0] = 5.0
    with pytest.warns(UndefinedMetricWarning, match="1 of 2 maps: 0") as caught:
        found = single_deletion(MODEL, X, even, 1, feature_mask=CELLS)
    assert len(caught) == 1
    assert found.isnan().tolist() == [True, False]
    with pytest.warns(UndefinedMetricWarning, match="the score loses the same"):
        assert sensitivity_n(lambda x: x[:, :1, 0, 0] * 0, X, MAPS, 0).isnan().all()


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"subset_size": 12}, InputError, "from 1 to 11 of 12 features, got 12"),
        ({"subset_size": 0}, InputError, "from 1 to 11"),
        ({"subset_size": 1.5}, InputError, "between 0 and 1, got 1.5"),
        ({"subset_size": "3"}, InputTypeError, "an int or a float, got str"),
        ({"n_samples": 1}, InputError, "n_samples must be at least 2"),
        ({"seed": -1}, InputError, "seed must be at least 0"),
        ({"activation": "relu"}, InputError, "activation"),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], error: type, says: str) -> None:
    with pytest.raises(error, match=says):
        faithfulness_correlation(MODEL, X, MAPS, 1, feature_mask=CELLS, **options)


def test_no_sizes() -> None:
    with pytest.raises(InputError, match="sizes is empty"):
        sensitivity_n(MODEL, X, MAPS, 1, sizes=())


def test_an_unknown_correlation() -> None:
    with pytest.raises(InputError, match="got 'kendall'"):
        single_deletion(MODEL, X, MAPS, 1, correlation="kendall")  # type: ignore[arg-type]


def test_sizes_of_a_wrong_type_are_refused() -> None:
    x = torch.ones(1, 3)
    for wrong in (3, "ab", None):
        with refused(InputTypeError, "sizes must be a sequence of numbers of features"):
            sensitivity_n(lambda x: x, x, x, 0, sizes=wrong)  # type: ignore[arg-type]


def test_sizes_may_be_of_any_iterable() -> None:
    x = torch.rand(2, 6)
    expected = sensitivity_n(lambda x: x.square(), x, x, 0, sizes=(1, 2))
    given: list[Any] = [np.array([1, 2]), torch.tensor([1, 2]), iter((1, 2)), {1: 0, 2: 0}.keys()]
    for sizes in given:
        found = sensitivity_n(lambda x: x.square(), x, x, 0, sizes=sizes)
        assert torch.equal(found, expected)

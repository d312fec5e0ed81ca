from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from asked import X, Y, maps, model
from helpers import assert_same, refused
from torch import Tensor

from torchattr import evaluate, quantus
from torchattr.core.targets import Classes
from torchattr.errors import InputError, UndefinedMetricWarning
from torchattr.quantus.features import elements, ranked
from torchattr.quantus.normalising import by_largest

NET = model()
x, y = torch.from_numpy(X), torch.from_numpy(Y)
MAPS = by_largest(maps(NET, x, y))
BLACK = x.flatten(1).amin(1).reshape(4, 1, 1, 1)


def scores(metric: quantus.Metric, **options: Any) -> Tensor:
    return torch.tensor(metric(NET, X, Y, MAPS.numpy(), **options), dtype=torch.float64)


def test_correlations_are_those_of_elements() -> None:
    options = {"baselines": BLACK, "activation": "none"}
    found = evaluate.faithfulness_correlation(
        NET, x, MAPS, y, subset_size=30, n_samples=20, feature_mask=elements(x), **options
    )
    metric = quantus.FaithfulnessCorrelation(subset_size=30, nr_runs=20, return_aggregate=False)
    assert_same(scores(metric), found, 1e-9)
    mean = quantus.FaithfulnessCorrelation(subset_size=30, nr_runs=20)(NET, X, Y, MAPS.numpy())
    assert mean == pytest.approx([float(found.mean())], rel=1e-9)


@pytest.mark.parametrize("step", [1, 50])
def test_the_estimate_is_that_of_steps_along_the_map(step: int) -> None:
    """The definition of Quantus by a loop: Pearson's correlation of worth and loss."""
    expected = []
    with torch.no_grad():
        for one, own, label, black in zip(x, MAPS.expand_as(x), y, BLACK, strict=True):
            order = own.flatten().argsort(descending=True, stable=True)
            worth, loss = [], []
            for start in range(0, 192, step):
                changed = one.flatten().clone()
                changed[order[start : start + step]] = black.item()
                worth.append(own.flatten()[order[start : start + step]].sum())
                scores_of = NET(torch.stack([one, changed.reshape(one.shape)]))[:, label]
                loss.append(scores_of[0] - scores_of[1])
            pair = torch.stack([torch.stack(worth), torch.stack(loss)])
            expected.append(torch.corrcoef(pair)[0, 1])
    found = scores(quantus.FaithfulnessEstimate(features_in_step=step))
    assert_same(found, torch.stack(expected), 1e-8)


@pytest.mark.parametrize("softmax", [True, False])
def test_flipping_follows_the_order_of_the_map(softmax: bool) -> None:
    step, expected = 50, []
    with torch.no_grad():
        for one, own, label, black in zip(x, MAPS.expand_as(x), y, BLACK, strict=True):
            order = own.flatten().argsort(descending=True, stable=True)
            changed, along = one.flatten().clone(), []
            for start in range(0, 192, step):
                changed[order[start : start + step]] = black.item()
                found = NET(changed.reshape(1, *one.shape))
                found = found.softmax(1) if softmax else found
                along.append(float(found[0, label]))
            expected.append(along)
    found = scores(quantus.PixelFlipping(features_in_step=step), softmax=softmax)
    assert_same(found, torch.tensor(expected, dtype=torch.float64), 1e-9)
    area = scores(
        quantus.PixelFlipping(features_in_step=step, return_auc_per_sample=True), softmax=softmax
    )
    assert area.shape == (4,)


@pytest.mark.parametrize("order", ["morf", "lerf"])
def test_regions_fall_by_order(order: str) -> None:
    found = scores(quantus.RegionPerturbation(patch_size=4, order=order, regions_evaluation=3))
    curve = evaluate.region_perturbation(
        NET,
        x,
        MAPS,
        y,
        size=4,
        regions=3,
        order="most" if order == "morf" else "least",
        baselines=BLACK,
        activation="softmax",
    ).scores
    assert_same(found, curve[:, :1] - curve[:, 1:], 1e-9)


def test_a_random_order_ignores_the_map() -> None:
    metric = quantus.RegionPerturbation(patch_size=4, order="random", regions_evaluation=2)
    found = metric(NET, X, Y, MAPS.numpy())
    assert found == metric(NET, X, Y, -MAPS.numpy())
    with refused(InputError, "order", "'morf'", "'best'"):
        quantus.RegionPerturbation(order="best")(NET, X, Y, MAPS.numpy())


def test_selectivity_has_the_scores_whose_area_evaluate_gives() -> None:
    found = scores(quantus.Selectivity(patch_size=4))
    clean = NET(x).softmax(1).gather(1, y[:, None]).detach()
    area = torch.trapezoid(torch.cat([clean, found], 1), dx=0.25, dim=1)
    expected = evaluate.selectivity(NET, x, MAPS, y, size=4, baselines=BLACK, activation="softmax")
    assert_same(area, expected, 1e-9)


def test_sensitivity_n_is_the_mean_over_sizes() -> None:
    metric = quantus.SensitivityN(features_in_step=60, n_max_percentage=0.7, return_aggregate=False)
    expected = evaluate.sensitivity_n(
        NET,
        x,
        MAPS,
        y,
        sizes=(60, 120),
        feature_mask=elements(x),
        baselines=BLACK,
        activation="softmax",
    )
    assert_same(scores(metric), expected.mean(1), 1e-9)


def test_irof_is_that_of_superpixels() -> None:
    mean = x.flatten(1).mean(1).reshape(4, 1, 1, 1)
    expected = evaluate.irof(
        NET, x, MAPS, y, feature_mask=evaluate.superpixels(x), baselines=mean, activation="softmax"
    )
    assert_same(scores(quantus.IROF(return_aggregate=False)), expected, 1e-9)


def test_monotonicity_asks_for_every_step() -> None:
    def total(inputs: Tensor) -> Tensor:
        return torch.stack([inputs.flatten(1).sum(1), -inputs.flatten(1).sum(1)], 1)

    metric = quantus.Monotonicity(features_in_step=16)
    given = {"a_batch": MAPS.numpy(), "softmax": False}
    assert metric(total, X, 0 * Y, **given) == [True] * 4
    assert metric(total, X, 0 * Y + 1, **given) == [False] * 4


def test_the_rank_correlation_is_that_of_steps_along_the_map() -> None:
    magnitudes = MAPS.abs()
    expected = evaluate.monotonicity_correlation(
        NET,
        x,
        magnitudes,
        y,
        n_samples=3,
        feature_mask=ranked(magnitudes, x, 16),
        activation="softmax",
    )
    metric = quantus.MonotonicityCorrelation(nr_samples=3, features_in_step=16)
    assert_same(scores(metric), expected, 1e-9)


def test_road_counts_right_predictions() -> None:
    labels = NET(x).argmax(1)
    found = quantus.ROAD(percentages=[5, 60])(NET, X, labels.numpy(), MAPS.numpy())
    curve = evaluate.road(NET, x, MAPS, Classes(range(5)), fractions=[0.05, 0.6], activation="none")
    right = curve.scores[..., 1:].argmax(1) == labels[:, None]
    assert found == dict(zip([5, 60], right.double().mean(0).tolist(), strict=True))
    assert list(quantus.ROAD().percentages) == list(range(1, 100, 2))


def test_constant_maps_are_no_failures() -> None:
    maps = MAPS.numpy().copy()
    maps[1] = 0.5
    labels = NET(x).argmax(1).numpy()
    with pytest.warns(UndefinedMetricWarning, match="1 of 4 maps: 1"):
        rises = quantus.Monotonicity(features_in_step=16)(NET, X, Y, maps)
    assert [one for one in rises if one != one] == rises[1:2]
    options = {"percentages": [5, 60], "disable_warnings": True}
    others = np.array([0, 2, 3])
    found = quantus.ROAD(**options)(NET, X, labels, maps)
    assert found == quantus.ROAD(**options)(NET, X[others], labels[others], maps[others])


def test_infidelity_is_the_mean_over_sizes() -> None:
    found = scores(quantus.Infidelity(perturb_patch_sizes=[2, 4]))
    parts = [
        evaluate.square_infidelity(NET, x, MAPS, y, size=size, baselines=BLACK) for size in (2, 4)
    ]
    assert_same(found, (parts[0] + parts[1]) / 2, 1e-9)


def test_sufficiency_compares_predicted_classes() -> None:
    found = scores(quantus.Sufficiency(threshold=1.9))
    expected = evaluate.sufficiency(MAPS.abs(), NET(x).argmax(1), threshold=1.9)
    assert_same(found, expected, 1e-9)

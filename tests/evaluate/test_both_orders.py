"""Curves by both orders."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from helpers import seeded
from measured import SmallNet

import torchattr as ta
from torchattr.errors import UndefinedMetricWarning
from torchattr.evaluate import (
    both_orders,
    deletion_curve,
    insertion_curve,
    region_perturbation,
    road,
)

MODEL = seeded(SmallNet).double()
GENERATOR = torch.Generator().manual_seed(3)
X = torch.rand(2, 2, 6, 8, generator=GENERATOR, dtype=torch.float64)
MAPS = torch.randn(2, 2, 6, 8, generator=GENERATOR, dtype=torch.float64)


@pytest.mark.parametrize("metric", [road, deletion_curve, partial(region_perturbation, size=2)])
def test_half_the_mean_difference(metric: Any) -> None:
    both = both_orders(metric, MODEL, X, MAPS, 1)
    most, least = (metric(MODEL, X, MAPS, 1, order=order) for order in ("most", "least"))
    assert torch.equal(both.most.scores, most.scores)
    assert torch.equal(both.least.scores, least.scores)
    for n in range(2):
        pairs = zip(least.scores[n].tolist()[1:], most.scores[n].tolist()[1:], strict=True)
        differences = [(late - soon) / 2 for late, soon in pairs]
        expected = sum(differences) / len(differences)
        assert both.combined[n].item() == pytest.approx(expected, rel=0, abs=1e-10)
        between = least.auc[n].item() - most.auc[n].item()
        assert both.area_between[n].item() == pytest.approx(between, rel=0, abs=1e-10)


def test_a_single_region_has_one_order() -> None:
    both = both_orders(region_perturbation, MODEL, X, MAPS, 1, size=9)
    assert torch.equal(both.most.scores, both.least.scores)
    assert both.area_between.tolist() == [0, 0]


def test_a_constant_map_has_no_order() -> None:
    with pytest.warns(UndefinedMetricWarning, match="all features are worth the same") as heard:
        both = both_orders(region_perturbation, MODEL, X, torch.ones_like(MAPS), 1, size=2)
    assert len(heard) == 1
    assert bool(both.combined.isnan().all())


def test_the_opposite_map_is_as_wrong_as_the_map_is_right() -> None:
    both, other = (both_orders(road, MODEL, X, maps, 1) for maps in (MAPS, -MAPS))
    assert both.combined.tolist() == pytest.approx((-other.combined).tolist(), rel=0, abs=1e-10)


def test_several_targets_and_what_it_shows() -> None:
    both = both_orders(insertion_curve, MODEL, X, MAPS, ta.Classes(2, 0), baselines=0, steps=4)
    assert both.combined.shape == both.area_between.shape == (2, 2)
    assert repr(both) == f"BothOrders(combined {both.combined.mean():.3f} on average)"


def test_the_order_is_not_the_users() -> None:
    with pytest.raises(TypeError, match="order"):
        both_orders(road, MODEL, X, MAPS, 1, order="most")

"""Pixel flipping and its relatives, against loops written from the papers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from helpers import assert_same, refused, seeded
from measured import SmallNet
from torch import Tensor

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, ShapeError, UndefinedMetricWarning
from torchattr.evaluate import (
    blocks,
    both_orders,
    deletion_curve,
    irof,
    pixel_flipping,
    region_perturbation,
    selectivity,
    uniform_noise,
)

EXACT = 1e-10
MODEL = seeded(SmallNet).double()
GENERATOR = torch.Generator().manual_seed(3)
X = torch.rand(2, 2, 6, 8, generator=GENERATOR, dtype=torch.float64)
MAPS = torch.randn(2, 2, 6, 8, generator=GENERATOR, dtype=torch.float64)


def score(x: Tensor, target: int, *, softmax: bool = False) -> float:
    scores = MODEL(x[None])[0]
    return (scores.softmax(0) if softmax else scores)[target].item()


def flipped(
    n: int, target: int, mask: Tensor, baseline: Tensor, *, softmax: bool = False
) -> list[float]:
    """Replace the features of one picture, one after another, and return all scores."""
    numbers = mask.unique().tolist()
    worth = {k: MAPS[n][:, mask == k].mean().item() for k in numbers}
    picture, scores = X[n].clone(), [score(X[n], target, softmax=softmax)]
    for k in sorted(numbers, key=lambda k: -worth[k]):
        picture[:, mask == k] = baseline[:, mask == k]
        scores.append(score(picture, target, softmax=softmax))
    return scores


def area(scores: list[float]) -> float:
    width = 1 / (len(scores) - 1)
    return sum((a + b) / 2 * width for a, b in itertools.pairwise(scores))


def test_pixels_one_by_one() -> None:
    found = pixel_flipping(MODEL, X, MAPS, [1, 2], steps=48)
    mask = torch.arange(48).reshape(6, 8)
    for n, target in enumerate([1, 2]):
        expected = flipped(n, target, mask, torch.zeros_like(X[n]))
        assert found.scores[n].tolist() == pytest.approx(expected, rel=0, abs=EXACT)
    assert torch.equal(
        pixel_flipping(MODEL, X, MAPS, 1, order="least", activation="softmax").scores,
        deletion_curve(MODEL, X, MAPS, 1, order="least").scores,
    )


@pytest.mark.parametrize("regions", [1, 5, 100])
def test_regions_become_uniform_noise(regions: int) -> None:
    found = region_perturbation(MODEL, X, MAPS, [1, 2], size=2, regions=regions)
    steps = min(regions, 12)
    assert found.scores.shape == (2, steps + 1)
    assert found.fractions[0, -1].item() == pytest.approx(steps / 12, abs=1e-12)
    noise = uniform_noise(X)
    for n, target in enumerate([1, 2]):
        expected = flipped(n, target, blocks(X, 2)[0, 0], noise[n])[: steps + 1]
        assert found.scores[n].tolist() == pytest.approx(expected, rel=0, abs=EXACT)
        falls = [expected[0] - one for one in expected]
        assert found.aopc[n].item() == pytest.approx(sum(falls) / (steps + 1), rel=0, abs=EXACT)


@pytest.mark.parametrize("target", [1, ta.Classes(2, 0)])
def test_an_example_with_fewer_regions_has_fewer_steps(target: Any) -> None:
    columns = torch.arange(8).expand(1, 1, 6, 8)
    mask = torch.cat([blocks(X, 2), columns])
    found = region_perturbation(MODEL, X, MAPS, target, feature_mask=mask)
    for n in range(2):
        one = region_perturbation(
            MODEL, X[n : n + 1], MAPS[n : n + 1], target, feature_mask=mask[n : n + 1]
        )
        assert_same(found.scores[n, ..., : one.scores.shape[-1]], one.scores[0], EXACT)
        assert_same(found.aopc[n], one.aopc[0], EXACT)
    both = both_orders(region_perturbation, MODEL, X, MAPS, target, feature_mask=mask)
    alone = both_orders(region_perturbation, MODEL, X[1:], MAPS[1:], target, feature_mask=columns)
    assert_same(both.combined[1], alone.combined[0], EXACT)
    assert_same(both.area_between[1], alone.area_between[0], EXACT)


def test_regions_of_the_least_relevance_first() -> None:
    options: dict[str, Any] = {"size": 3, "regions": 4, "baselines": "mean"}
    found = region_perturbation(MODEL, X, MAPS, 1, order="least", **options)
    other = region_perturbation(MODEL, X, -MAPS, 1, **options)
    assert_same(found.scores, other.scores, EXACT)


def test_the_area_below_patches() -> None:
    found = selectivity(MODEL, X, MAPS, [1, 2], size=2)
    for n, target in enumerate([1, 2]):
        expected = area(flipped(n, target, blocks(X, 2)[0, 0], torch.zeros_like(X[n])))
        assert found[n].item() == pytest.approx(expected, rel=0, abs=EXACT)


@pytest.mark.parametrize("own", [False, True])
def test_the_area_over_segments(own: bool) -> None:
    columns = torch.arange(8).expand(1, 1, 6, 8)
    segments = torch.cat([blocks(X, 2), columns]) if own else blocks(X, 2)
    given = {"feature_mask": segments} if own else {"size": 2}
    found = irof(MODEL, X, MAPS, [1, 2], **given)
    for n, target in enumerate([1, 2]):
        mean = X[n].mean((1, 2), keepdim=True).expand(2, 6, 8)
        mask = segments[n % len(segments), 0]
        scores = flipped(n, target, mask, mean, softmax=True)
        expected = 1 - area([one / scores[0] for one in scores])
        assert found[n].item() == pytest.approx(expected, rel=0, abs=EXACT)


def test_segments_where_the_score_is_not_positive() -> None:
    with pytest.warns(UndefinedMetricWarning, match="irof .* not positive") as caught:
        found = irof(lambda x: -MODEL(x).abs(), X, MAPS, 1, size=2, activation="none")
    assert len(caught) == 1
    assert found.isnan().all()


METRICS = [
    pixel_flipping,
    lambda *args, **options: region_perturbation(*args, size=2, **options),
    lambda *args, **options: selectivity(*args, size=2, **options),
    lambda *args, **options: irof(*args, size=2, **options),
]


def values(found: Any) -> Tensor:
    return found if isinstance(found, Tensor) else found.auc


@pytest.mark.parametrize("metric", METRICS)
def test_several_targets_single_examples_and_arguments(metric: Any) -> None:
    maps = torch.stack([MAPS, MAPS.flip(-1)], 1)
    before = X.clone(), maps.clone()
    together = values(metric(MODEL, X, maps, ta.Classes(2, 0)))
    for position, target in enumerate([2, 0]):
        for n in range(2):
            one = values(metric(MODEL, X[n : n + 1], maps[n : n + 1, position], target))
            assert together[n, position].item() == pytest.approx(one.item(), rel=0, abs=EXACT)
    assert torch.equal(X, before[0])
    assert torch.equal(maps, before[1])


@pytest.mark.parametrize("metric", METRICS)
def test_maps_that_cannot_be_ranked(metric: Any) -> None:
    broken = MAPS.clone()
    broken[0, 0, 0, 0] = torch.inf
    with refused(InputError, "attributions holds NaN or infinite"):
        metric(MODEL, X, broken, 1)
    with refused(ShapeError, "(2, 1, 3, 4)", "interpolate"):
        metric(MODEL, X, MAPS[:, :1, ::2, ::2], 1)


def test_blocks_need_pictures() -> None:
    for metric in (region_perturbation, selectivity, irof):
        with refused(ShapeError, "inputs must be pictures", "(1, 4)"):
            metric(lambda x: x, torch.ones(1, 4), torch.ones(1, 4))
        with refused(InputTypeError, "inputs must be a tensor of pictures, got tuple"):
            metric(MODEL, (X,), (MAPS,))
        with refused(InputError, "size must be"):
            metric(MODEL, X, MAPS, 1, size=0)
    with refused(InputError, "regions must be at least 1"):
        region_perturbation(MODEL, X, MAPS, 1, regions=0)

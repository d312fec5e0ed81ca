"""Shapley sampling: the mean over its orders, against exact values and by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused
from peers import Counting, classifier, picture_net, pictures, rows
from torch import Tensor

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, OutputError, ShapeError
from torchattr.methods._perturbation.coalition_draws import SeededDraws
from torchattr.methods.shapley_value_sampling import mean_gains

EXACT = 1e-12
MASK = torch.tensor([[0, 0, 1, 1, 2, 2]])


def sampled(x: Tensor, **options: Any) -> Tensor:
    found: Tensor = ta.ShapleyValueSampling(classifier()).attribute(
        x, **{"target": 1, "n_samples": 7, **options}
    )
    return found


@pytest.mark.parametrize("seed", [0, [4, 5, 6]])
def test_it_is_the_mean_gain_over_its_orders(seed: Any) -> None:
    model, x, baseline = classifier(), rows(), rows(3, 9)
    found = sampled(x, baselines=baseline, seed=seed)
    members = torch.ones(1, 6, dtype=torch.bool)
    seeds = seed if isinstance(seed, list) else [seed] * 3
    expected = torch.zeros_like(x)
    for n, own in enumerate(seeds):
        for ranks in SeededDraws([own]).orders(7, members, 1)[:, 0]:
            row = baseline[n].clone()
            for feature in ranks.argsort():
                before = model(row[None])[0, 1].item()
                row[feature] = x[n, feature]
                expected[n, feature] += (model(row[None])[0, 1].item() - before) / 7
    assert_same(found, expected, EXACT)


def test_many_orders_come_close_to_the_exact_values() -> None:
    x = rows()
    exact = ta.ShapleyValues(classifier()).attribute(x, target=1)
    errors = [float((sampled(x, n_samples=n) - exact).abs().max()) for n in (25, 2500)]
    assert errors[1] < 0.3 * errors[0]
    assert errors[1] < 0.03 * float(exact.abs().max())


@pytest.mark.parametrize("count", [1, 3])
def test_attributions_sum_to_the_difference_of_the_scores(count: int) -> None:
    model, x, baseline = classifier(), rows(), rows(1, 8)
    found = sampled(x, n_samples=count, baselines=baseline)
    expected = (model(x) - model(baseline))[:, 1].detach()
    assert_same(found.sum(1), expected, EXACT)


@pytest.mark.parametrize("mask", [None, MASK, torch.tensor([[0] * 6, [1, 2, 2, 3, 4, 5], [7] * 6])])
def test_an_example_gets_the_same_in_any_batch(mask: Tensor | None) -> None:
    x = rows()
    together = sampled(x, feature_mask=mask)
    for n in range(3):
        own = mask if mask is None or len(mask) == 1 else mask[n : n + 1]
        assert_same(sampled(x[n : n + 1], feature_mask=own), together[n : n + 1], EXACT)
    assert_same(sampled(x, perturbations_per_eval=1), sampled(x), EXACT)


def test_a_coalition_is_scored_once() -> None:
    model = Counting(classifier())
    ta.ShapleyValueSampling(model).attribute(
        rows(1), target=1, feature_mask=MASK, n_samples=100, perturbations_per_eval=1
    )
    # The clean inputs, and all coalitions of three features but that of all.
    assert len(model.seen) == 1 + 7


def test_pictures_with_superpixels_and_several_targets() -> None:
    model, x = picture_net(), pictures()
    segments = torch.arange(30).reshape(5, 6) // 8
    method = ta.ShapleyValueSampling(model)
    both = method.attribute(x, feature_mask=segments, target=ta.Classes(0, 2), n_samples=4)
    assert both.shape == (2, 2, 2, 5, 6)
    for place, target in enumerate((0, 2)):
        one = method.attribute(x, feature_mask=segments, target=target, n_samples=4)
        assert torch.equal(both[:, place], one)


def test_halves_when_memory_runs_out() -> None:
    model = Counting(classifier(), limit=6)
    found = ta.ShapleyValueSampling(model).attribute(rows(), target=1, n_samples=7)
    assert_same(found, sampled(rows()), EXACT)
    assert max(model.seen) > 6


def test_a_forward_that_aggregates_the_batch() -> None:
    model, x = classifier(), rows()
    total = ta.ShapleyValueSampling(lambda x: model(x)[:, 1].sum().detach())
    found = total.attribute(x, n_samples=7)
    assert_same(found, sampled(x).sum(0, keepdim=True), EXACT)
    with refused(OutputError, "1 values for the whole batch"):
        total.attribute(x, n_samples=7, seed=[1, 2, 3])


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"n_samples": 0}, InputError, ("n_samples", "at least 1", "0")),
        ({"n_samples": 2.5}, InputTypeError, ("n_samples", "int", "2.5")),
        ({"seed": -1}, InputError, ("seed", "-1")),
        ({"seed": [1, 2]}, ShapeError, ("seed", "2 entries", "batch of 3")),
        ({"perturbations_per_eval": 0}, InputError, ("perturbations_per_eval", "0")),
        ({"incremental": "no"}, InputError, ("incremental", "'no'", "auto")),
        ({"feature_mask": torch.zeros(7)}, InputTypeError, ("feature_mask", "integers")),
        ({"feature_mask": torch.zeros(7).long()}, ShapeError, ("feature_mask", "broadcast")),
    ],
)
def test_bad_arguments_are_refused(options: Any, kind: Any, words: Any) -> None:
    with refused(kind, *words):
        sampled(rows(), **options)


def test_mean_gains_of_a_game_by_hand() -> None:
    ranks = torch.tensor([[[0, 1]], [[1, 0]]])
    values = torch.tensor([0.0, 2.0, 0.0, 5.0]).reshape(4, 1, 1)
    # First alone 2, second alone 5, both 10: gains 2 and 8, then 5 and 5.
    found = mean_gains(ranks, values, torch.tensor([[10.0]]))
    assert found.flatten().tolist() == [3.5, 6.5]


def test_no_element_is_refused() -> None:
    with refused(InputError, "no element"):
        ta.ShapleyValueSampling(lambda x: x.sum(1)).attribute(noise(2, 0))


def test_progress_is_one_bar_where_the_walk_is_given_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reports: list[Any] = []
    options = {"feature_mask": MASK, "show_progress": True, "incremental": True}
    sampled(rows(), report=reports.append, **options)
    assert reports[0].reasons
    assert capsys.readouterr().err.count("\n") == 1

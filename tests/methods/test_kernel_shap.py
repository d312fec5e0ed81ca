"""KernelSHAP against exact Shapley values, and what it draws and scores."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, refused
from peers import Counting, classifier, picture_net, pictures, rows
from torch import Tensor

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, OutputError

EXACT = 1e-10
OF_EACH = torch.tensor([[0] * 6, [1, 2, 2, 3, 4, 5], [7, 7, 7, 8, 8, 8]])


def explained(x: Tensor, **options: Any) -> Tensor:
    found: Tensor = ta.KernelShap(classifier()).attribute(
        x, **{"target": 1, "n_samples": 40, **options}
    )
    return found


def test_many_coalitions_come_close_to_the_exact_values() -> None:
    x = rows()
    exact = ta.ShapleyValues(classifier()).attribute(x, target=1)
    errors = [float((explained(x, n_samples=n) - exact).abs().max()) for n in (40, 4000)]
    assert errors[1] < 0.3 * errors[0]
    assert errors[1] < 0.05 * float(exact.abs().max())


def test_an_additive_score_is_exact() -> None:
    weights, x = torch.arange(1.0, 7).double(), rows()
    found = ta.KernelShap(lambda x: x @ weights + 3).attribute(x, 0.5, n_samples=40)
    assert_same(found, weights * (x - 0.5), EXACT)


@pytest.mark.parametrize("count", [2, 3, 40])
def test_attributions_sum_to_the_difference_of_the_scores(count: int) -> None:
    model, x = classifier(), rows()
    expected = (model(x) - model(x * 0))[:, 1].detach()
    assert_same(explained(x, n_samples=count).sum(1), expected, EXACT)


@pytest.mark.parametrize("mask", [None, OF_EACH])
def test_an_example_gets_the_same_in_any_batch(mask: Tensor | None) -> None:
    x = rows()
    together = explained(x, feature_mask=mask)
    for n in range(3):
        own = None if mask is None else mask[n : n + 1]
        assert_same(explained(x[n : n + 1], feature_mask=own), together[n : n + 1], EXACT)
    seeds = explained(x, seed=[3, 4, 5])
    assert_same(explained(x[1:2], seed=4), seeds[1:2], EXACT)


def test_one_value_for_each_feature() -> None:
    mask = torch.tensor([[4, 4, 1, 1, 9, 9]])
    found = explained(rows(), feature_mask=mask, return_input_shape=False)
    assert found.shape == (3, 3)
    whole = explained(rows(), feature_mask=mask)
    assert torch.equal(whole[:, [2, 0, 4]], found)
    several = explained(
        rows(), feature_mask=OF_EACH, return_input_shape=False, target=ta.Classes(1, 0)
    )
    assert several.shape == (3, 2, 8)


def test_a_coalition_is_scored_once() -> None:
    model = Counting(classifier())
    ta.KernelShap(model).attribute(
        rows(1), target=1, feature_mask=torch.tensor([0, 0, 0, 1, 1, 1]), perturbations_per_eval=1
    )
    # The clean inputs, no feature, and each of two.
    assert len(model.seen) == 4


def test_pictures_with_superpixels() -> None:
    segments = torch.arange(30).reshape(5, 6) // 8
    options: dict[str, Any] = {"target": 2, "feature_mask": segments}
    found = ta.KernelShap(picture_net()).attribute(pictures(), n_samples=3000, **options)
    exact = ta.ShapleyValues(picture_net()).attribute(pictures(), **options)
    assert_same(found, exact, 0.1)


def test_a_forward_that_aggregates_the_batch() -> None:
    model, x = classifier(), rows()
    found = ta.KernelShap(lambda x: model(x)[:, 1].sum().detach()).attribute(x, n_samples=40)
    assert_same(found, explained(x).sum(0, keepdim=True), EXACT)


def test_a_single_feature_and_an_empty_batch() -> None:
    model, x = classifier(), rows()
    found = explained(x, feature_mask=torch.zeros(6, dtype=torch.long))
    expected = (model(x) - model(x * 0))[:, 1:2].detach().expand(3, 6)
    assert_same(found, expected, EXACT)
    assert explained(x[:0]).shape == (0, 6)
    assert explained(x[:0], return_input_shape=False).shape == (0, 6)


def test_bad_arguments_are_refused() -> None:
    with refused(InputError, "n_samples", "at least 2", "1"):
        explained(rows(), n_samples=1)
    with refused(InputTypeError, "n_samples", "'many'"):
        explained(rows(), n_samples="many")


@pytest.mark.parametrize("method", [ta.KernelShap, ta.Lime])
def test_scores_that_no_model_fits_are_a_sentence(method: Any) -> None:
    made = method(lambda x: x.sum(1, keepdim=True).expand(-1, 2))
    with refused(OutputError, "scores of coalitions are NaN or infinite", "baselines"):
        made.attribute(torch.ones(1, 4), float("inf"), 1, n_samples=8)

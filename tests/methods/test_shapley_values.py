"""Exact Shapley values against all orders of the features."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused
from peers import classifier, mixed, picture_net, pictures, rows
from torch import Tensor

import torchattr as ta
from torchattr.errors import InputError, OutputError
from torchattr.methods.shapley_values import shapley_shares

EXACT = 1e-12


def by_hand(forward: Any, x: Tensor, mask: Tensor, baseline: Tensor) -> Tensor:
    """Average the gain of each feature over all orders, example by example."""
    result = torch.zeros_like(x)
    mask, baseline = mask.expand_as(x), baseline.expand_as(x)
    for n in range(len(x)):
        orders = list(permutations(mask[n].unique().tolist()))
        for order in orders:
            picture = baseline[n : n + 1].clone()
            for number in order:
                before, hit = forward(picture), mask[n] == number
                picture[0][hit] = x[n][hit]
                result[n][hit] += (forward(picture) - before).item() / len(orders)
    return result


@pytest.mark.parametrize(
    "mask",
    [
        torch.tensor([[0, 0, 1, 1, 2, 2]]),
        torch.tensor([[0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 0, 1], [7, 3, 7, 9, 3, 2]]),
        torch.zeros(1, 6, dtype=torch.long),
    ],
    ids=["shared", "of each", "one"],
)
@pytest.mark.parametrize("baseline", [torch.zeros(1).double(), rows(3, 9)], ids=["zero", "rows"])
@pytest.mark.parametrize("at_once", [None, 1, 3])
def test_equals_the_mean_over_all_orders(mask: Tensor, baseline: Tensor, at_once: Any) -> None:
    model, x = classifier(), rows()
    found = ta.ShapleyValues(model).attribute(
        x, baseline, 1, feature_mask=mask, perturbations_per_eval=at_once
    )
    expected = by_hand(lambda row: model(row)[:, 1].detach(), x, mask, baseline)
    assert_same(found, expected, EXACT)


def test_superpixels_of_pictures() -> None:
    model, x = picture_net(), pictures()
    segments = torch.arange(30).reshape(5, 6) // 8
    found = ta.ShapleyValues(model).attribute(x, target=2, feature_mask=segments)
    expected = by_hand(lambda row: model(row)[:, 2].detach(), x, segments, torch.zeros(1).double())
    assert_same(found, expected, EXACT)


def test_inputs_share_features_and_targets_share_forwards() -> None:
    a, b = rows(2), noise(2, 4, seed=3)
    masks = torch.tensor([[0, 1, 1, 2, 2, 2]]), torch.tensor([[2, 0, 3, 3]])
    both = ta.ShapleyValues(mixed).attribute((a, b), feature_mask=masks, target=ta.Classes(0, 2))
    for place, target in enumerate((0, 2)):
        one = ta.ShapleyValues(mixed).attribute((a, b), feature_mask=masks, target=target)
        for part, alone in zip(both, one, strict=True):
            assert torch.equal(part[:, place], alone)
    together = torch.cat([a, b], 1)
    mask = torch.cat(masks, 1)
    expected = by_hand(
        lambda row: mixed(row[:, :6], row[:, 6:])[:, 2],
        together,
        mask,
        torch.zeros(1).double(),
    )
    assert_same(torch.cat([part[:, 1] for part in both], 1), expected, EXACT)


@pytest.mark.parametrize("form", [lambda s: s.sum(), lambda s: s.sum(0), lambda s: float(s.sum())])
def test_forwards_that_aggregate_the_batch(form: Any) -> None:
    model, x = classifier(), rows()
    mask = torch.tensor([[0, 0, 1, 1, 2, 2]])
    found = ta.ShapleyValues(lambda x: form(model(x).detach())).attribute(x, feature_mask=mask)
    clean = form(model(x).detach())
    each = torch.as_tensor(clean, dtype=torch.float64).reshape(-1)
    assert found.shape == (len(each), 6)
    none = torch.as_tensor(form(model(x * 0).detach()), dtype=torch.float64).reshape(-1)
    assert_same(found[:, ::2].sum(1), each - none, EXACT)
    with refused(OutputError, "perturbations_per_eval=2"):
        ta.ShapleyValues(lambda x: form(model(x).detach())).attribute(
            x, feature_mask=mask, perturbations_per_eval=2
        )


def test_an_empty_batch_and_integers() -> None:
    assert ta.ShapleyValues(classifier()).attribute(rows()[:0], target=1).shape == (0, 6)
    tokens = torch.tensor([[3, 5]])
    found = ta.ShapleyValues(lambda x: x[:, 0] * x[:, 1]).attribute(tokens)
    assert found.tolist() == [[7.5, 7.5]]


def test_too_many_features_are_refused() -> None:
    with refused(InputError, "21 features", "2**21", "feature_mask", "ShapleyValueSampling"):
        ta.ShapleyValues(lambda x: x.sum(1)).attribute(torch.ones(1, 21))


def test_shares_of_a_feature_sum_to_nothing_and_weigh_each_order_once() -> None:
    shares = shapley_shares(5)
    assert abs(float(shares.sum())) < 1e-12
    assert_same(shares.clamp(min=0).sum(1), torch.ones(5, dtype=torch.float64), 1e-12)

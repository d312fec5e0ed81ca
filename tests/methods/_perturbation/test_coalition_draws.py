"""Draws of orders and coalitions: their distribution, and what they depend on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from torchattr.methods._perturbation.coalition_draws import SeededDraws, size_probabilities

ALL = torch.ones(1, 4, dtype=torch.bool)
DRAWS = ["orders", "coins", "subsets"]


def drawn(name: str, seeds: list[int], members: Tensor, count: int = 5) -> Tensor:
    table: Tensor = getattr(SeededDraws(seeds), name)(count, members, len(members))
    return table


def test_each_order_is_equally_likely() -> None:
    orders = drawn("orders", [0], ALL, 24_000)[:, 0]
    assert torch.equal(orders.sort(1).values, torch.arange(4).expand(24_000, -1))
    _, counts = orders.unique(dim=0, return_counts=True)
    assert len(counts) == 24
    assert (counts - 1000).abs().max() < 5 * 1000**0.5


def test_coins_are_fair_and_independent() -> None:
    coins = drawn("coins", [0], ALL, 16_000)[:, 0]
    _, counts = coins.unique(dim=0, return_counts=True)
    assert len(counts) == 16
    assert (counts - 1000).abs().max() < 5 * 1000**0.5


@pytest.mark.parametrize("features", [2, 3, 7])
def test_subsets_have_the_sizes_of_the_shapley_kernel(features: int) -> None:
    members = torch.ones(1, features, dtype=torch.bool)
    subsets = drawn("subsets", [0], members, 20_000)[:, 0]
    found = torch.bincount(subsets.sum(1), minlength=features).double() / 20_000
    expected = size_probabilities(features)
    assert (found - expected).abs().max() < 0.02
    # Whatever the size, each feature is as likely as the others.
    assert (subsets.double().mean(0) - 0.5).abs().max() < 0.02
    sizes = torch.arange(1, features)
    shares = expected[1:] * sizes * (features - sizes)
    assert torch.allclose(shares, shares[:1].expand_as(shares))


def test_a_single_feature_has_only_the_empty_coalition() -> None:
    assert not drawn("subsets", [0], torch.ones(1, 1, dtype=torch.bool), 50).any()


@pytest.mark.parametrize("name", DRAWS)
def test_what_an_example_gets_depends_on_its_own_features_and_seed(name: str) -> None:
    members = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1], [0, 0, 1, 0]]) == 1
    together = drawn(name, [4, 5, 6], members)
    for row, seed in enumerate((4, 5, 6)):
        own = members[row]
        alone = drawn(name, [seed], own[own][None])
        assert torch.equal(together[:, row, own], alone[:, 0])
    if name == "orders":
        assert torch.equal(together.sort(2).values, torch.arange(4).expand(5, 3, -1))
    else:
        assert not together[:, ~members].any()


@pytest.mark.parametrize("name", DRAWS)
def test_more_samples_begin_with_the_same(name: str) -> None:
    assert torch.equal(drawn(name, [3], ALL, 9)[:5], drawn(name, [3], ALL))
    assert not torch.equal(drawn(name, [2], ALL, 9), drawn(name, [3], ALL, 9))

"""Steps along an order of features."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import noise

from torchattr.core.inputs import as_inputs
from torchattr.evaluate.ranked_masks import (
    as_fractions,
    counts_of,
    nested,
    order_of,
    pixels,
)
from torchattr.methods import as_segments


def test_steps_are_counts_or_fractions() -> None:
    assert as_fractions(0.3, 10).tolist() == pytest.approx([0, 0.3, 0.6, 0.9, 1])
    assert as_fractions(0.1, 100).tolist() == pytest.approx([k / 10 for k in range(11)])
    assert as_fractions(0.01, 4).tolist() == as_fractions(50, 4).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert as_fractions(1, 4).tolist() == [0, 1]


def test_ranks_are_those_of_a_sort() -> None:
    x = noise(2, 3, 4, 5)
    (found,), is_defined = order_of(pixels([x]), [x], "most")
    assert is_defined.tolist() == [True, True]
    assert found.shape == (2, 1, 4, 5)
    for n in range(2):
        worth = x[n].mean(0).flatten().tolist()
        order = sorted(range(20), key=lambda k: -worth[k])
        expected = torch.tensor([order.index(k) for k in range(20)]).reshape(4, 5)
        assert torch.equal(found[n, 0], expected)


def test_channels_may_have_ranks_of_their_own() -> None:
    x = noise(1, 2, 2, 2)
    features = as_segments(as_inputs(x), torch.arange(8).reshape(2, 2, 2))
    (found,), _ = order_of(features, [x])
    order = x.flatten().argsort(descending=True).tolist()
    assert found.flatten().tolist() == [order.index(k) for k in range(8)]


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3])
def test_equal_features_have_no_order_however_many_elements_they_have(value: float) -> None:
    masks = torch.zeros(1, 1, 30, 30, dtype=torch.long)
    masks[..., 1:, :3], masks[..., 0, 0] = 1, 2
    features = as_segments(as_inputs(noise(2, 3, 30, 30).float()), masks)
    channels = torch.tensor([value, 0.2, 0.3]).reshape(1, 3, 1, 1).expand(2, -1, 30, 30).clone()
    assert order_of(features, [channels]).is_defined.tolist() == [False, False]
    channels[1, 0, 0, 0] += 0.01
    assert order_of(features, [channels]).is_defined.tolist() == [False, True]


def test_elements_may_differ_where_their_features_do_not() -> None:
    x = torch.tensor([[1.0, 3.0, 2.0, 2.0], [1.0, 3.0, 2.0, 1.0]])
    features = as_segments(as_inputs(x), torch.tensor([0, 0, 1, 1]))
    assert order_of(features, [x]).is_defined.tolist() == [False, True]


def test_features_that_an_example_lacks_give_it_no_order() -> None:
    x = torch.ones(2, 3)
    features = as_segments(as_inputs(x), torch.tensor([[0, 0, 1], [2, 1, 1]]))
    assert order_of(features, [x]).is_defined.tolist() == [False, False]


@pytest.mark.parametrize("kind", ["deletion", "insertion"])
def test_each_mask_replaces_more_than_the_one_before(kind: Any) -> None:
    (ranks,), _ = order_of(pixels([noise(2, 6)]), [noise(2, 6)])
    counts = counts_of(torch.tensor([0, 0.5, 0.6, 1.0]).double(), torch.tensor([6, 6]))
    assert counts.T.tolist() == [[0, 3, 4, 6]] * 2
    steps = nested([ranks], counts, kind)
    assert len(steps) == 3
    assert steps.cumulative
    (masks,), (differing,) = steps.masks(0, 3), steps.differing(0, 3)
    assert masks is not None
    assert differing is not None
    replaced = [3, 4, 6] if kind == "deletion" else [2, 3, 6]
    assert masks.sum(2).tolist() == [[count] * 2 for count in replaced]
    before = torch.zeros_like(masks[0])
    for mask, added in zip(masks, differing, strict=True):
        assert torch.equal(added, mask & ~before)
        assert not (before & ~mask).any()
        before = mask
    (last,) = steps.differing(2, 3)
    assert torch.equal(torch.as_tensor(last)[0], differing[2])

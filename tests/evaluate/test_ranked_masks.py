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
    pixels,
    ranks_of,
)
from torchattr.methods import as_segments


def test_steps_are_counts_or_fractions() -> None:
    assert as_fractions(0.3, 10).tolist() == pytest.approx([0, 0.3, 0.6, 0.9, 1])
    assert as_fractions(0.1, 100).tolist() == pytest.approx([k / 10 for k in range(11)])
    assert as_fractions(0.01, 4).tolist() == as_fractions(50, 4).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert as_fractions(1, 4).tolist() == [0, 1]


def test_ranks_are_those_of_a_sort() -> None:
    x = noise(2, 3, 4, 5)
    (found,) = ranks_of(pixels([x]), [x], "most")
    assert found.shape == (2, 1, 4, 5)
    for n in range(2):
        worth = x[n].mean(0).flatten().tolist()
        order = sorted(range(20), key=lambda k: -worth[k])
        expected = torch.tensor([order.index(k) for k in range(20)]).reshape(4, 5)
        assert torch.equal(found[n, 0], expected)


def test_channels_may_have_ranks_of_their_own() -> None:
    x = noise(1, 2, 2, 2)
    features = as_segments(as_inputs(x), torch.arange(8).reshape(2, 2, 2))
    (found,) = ranks_of(features, [x])
    order = x.flatten().argsort(descending=True).tolist()
    assert found.flatten().tolist() == [order.index(k) for k in range(8)]


@pytest.mark.parametrize("kind", ["deletion", "insertion"])
def test_each_mask_replaces_more_than_the_one_before(kind: Any) -> None:
    (ranks,) = ranks_of(pixels([noise(2, 6)]), [noise(2, 6)])
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

"""Coalitions: which features each copy keeps, and which copies are equal."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from torchattr.methods._perturbation import coalitions as module
from torchattr.methods._perturbation.coalitions import (
    EveryCoalition,
    ListedCoalitions,
    OrderedCoalitions,
)
from torchattr.methods._perturbation.segments import Segments

FEATURES = Segments([torch.Size([2, 4])], [torch.tensor([[7, 7, 3, 5]])])
OF_EACH = Segments([torch.Size([2, 3])], [torch.tensor([[0, 1, 1], [1, 2, 0]])])


def replaced(mask: Tensor | None) -> list[object]:
    assert mask is not None
    return mask.int().tolist()


def test_every_coalition_is_its_number_in_bits() -> None:
    coalitions = EveryCoalition(FEATURES)
    assert len(coalitions) == 8
    assert coalitions.kept(5, 7)[:, 0].tolist() == [[True, False, True], [False, True, True]]
    # Features are numbered in the order of their numbers: 3, 5, 7.
    (mask,) = coalitions.masks(1, 3)
    assert replaced(mask) == [[[1, 1, 0, 1]], [[1, 1, 1, 0]]]
    assert not coalitions.per_example


def test_ordered_coalitions_grow_by_one() -> None:
    ranks = torch.tensor([[[2, 0, 1]], [[0, 1, 2]]])
    coalitions = OrderedCoalitions(FEATURES, ranks)
    kept = coalitions.kept(0, len(coalitions))[:, 0].int()
    assert kept.tolist() == [
        *([0, 0, 0], [0, 1, 0], [0, 1, 1]),
        *([0, 0, 0], [1, 0, 0], [1, 1, 0]),
    ]


def test_each_example_may_have_its_own() -> None:
    table = torch.tensor([[[True, False, False], [False, True, True]]])
    (mask,) = ListedCoalitions(OF_EACH, table).masks(0, 1)
    assert replaced(mask) == [[[0, 1, 1], [0, 0, 1]]]
    shared = ListedCoalitions(OF_EACH, table[:, :1])
    assert replaced(shared.masks(0, 1)[0]) == [[[0, 1, 1], [1, 1, 0]]]
    assert shared.per_example
    one_mask = ListedCoalitions(FEATURES, table)
    assert replaced(one_mask.masks(0, 1)[0]) == [[[1, 1, 0, 1], [0, 0, 1, 0]]]
    assert one_mask.per_example


@pytest.mark.parametrize("most", [0, 2**26])
def test_equal_coalitions_are_kept_once(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_COMPARED", most)
    table = torch.randint(0, 2, (40, 1, 3)) == 1
    coalitions = ListedCoalitions(FEATURES, table)
    different, which = coalitions.distinct()
    assert torch.equal(different.kept(0, len(different))[which], table)
    assert len(different) == (40 if most == 0 else len(table.unique(dim=0)))

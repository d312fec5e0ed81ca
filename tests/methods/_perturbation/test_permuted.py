"""Copies with permuted features."""

from __future__ import annotations

import torch
from helpers import noise

from torchattr.core.inputs import Inputs
from torchattr.methods._perturbation.permuted import (
    PermutedCopies,
    PermutedSegments,
    seeded_permutation,
)

X = noise(4, 2, 3, 3)
MASK = torch.arange(9).reshape(1, 1, 3, 3) // 4
FEATURES = PermutedSegments([X.shape], [MASK])


def copies(images: slice = slice(None)) -> PermutedCopies:
    whole = PermutedCopies(Inputs((X,), False), FEATURES, seeded_permutation(3))
    return whole if images == slice(None) else whole.of_images(images)


def test_each_copy_permutes_one_feature() -> None:
    (found,) = copies().perturbed(0, 3)
    for number, copy in enumerate(found.unflatten(0, (3, 4))):
        own = (number == MASK).expand_as(X)
        assert torch.equal(copy[~own], X[~own])
        order = [int((X[:, 0][:, own[0, 0]] == row[0][own[0, 0]]).all(1).nonzero()) for row in copy]
        assert sorted(order) == [0, 1, 2, 3]
        assert order != [0, 1, 2, 3]
        assert torch.equal(copy, torch.where(own, X[order], X))


def test_some_copies_and_some_images_are_those_of_all() -> None:
    (every,) = copies().perturbed(0, 3)
    (last,) = copies(slice(1, 3)).perturbed(1, 3)
    assert torch.equal(last, every.unflatten(0, (3, 4))[1:, 1:3].flatten(0, 1))


def test_changes_are_the_same_copies() -> None:
    for subset in (copies(), copies(slice(1, 3))):
        (change,) = subset.changes(0, 3)
        (whole,) = subset.perturbed(0, 3)
        assert torch.equal(change.whole(), whole)
        assert change.boxes is not None
        owner, y, x = (torch.from_numpy(one) for one in change.boxes.positions)
        assert torch.equal(change.rows(), whole[owner, :, y, x])


def test_what_a_single_row_holds_cannot_be_permuted() -> None:
    shapes = [torch.Size([1, 2]), torch.Size([5, 3])]
    features = PermutedSegments(shapes, [torch.tensor([[0, 1]]), torch.tensor([[1, 2, 2]])])
    assert features.fixed.tolist() == [True, True, False]
    effects = features.effects(torch.ones(5, 1), torch.zeros(3, 5, 1))
    assert effects[..., 0].sum(1).tolist() == [0, 0, 5]


def test_two_examples_always_exchange() -> None:
    for feature in range(20):
        permuted = seeded_permutation(0)(feature, X[:2], torch.tensor(True))
        assert torch.equal(permuted, X[:2].flip(0))

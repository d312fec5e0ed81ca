"""Segments: the means of their elements."""

from __future__ import annotations

import torch
from helpers import assert_same, noise

from torchattr.methods._perturbation.segments import Segments


def test_means_count_the_elements_of_all_inputs() -> None:
    shapes = [torch.Size([2, 2, 3]), torch.Size([2, 2])]
    features = Segments(shapes, [torch.tensor([4, 9, 9]), torch.tensor([[9, 7]])])
    a, b = noise(2, 1, 3), noise(2, 2, seed=2)
    means, counts = features.means([a, b])
    whole = torch.cat([a[:, 0, 1:], a[:, 0, 1:], b[:, :1]], 1)
    assert_same(means, torch.stack([a[:, 0, 0], b[:, 1], whole.mean(1)], 1), 1e-15)
    assert bool((counts > 0).all())


def test_examples_may_lack_a_feature() -> None:
    features = Segments([torch.Size([2, 3])], [torch.tensor([[0, 0, 1], [2, 1, 1]])])
    means, counts = features.means([torch.tensor([[1.0, 3.0, 5.0], [-1.0, 2.0, 4.0]])])
    assert means.tolist() == [[2, 5, 0], [0, 3, -1]]
    assert counts.tolist() == [[2, 1, 0], [0, 2, 1]]

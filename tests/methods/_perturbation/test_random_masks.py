"""Random masks: equal to those drawn by hand, each determined by its number alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same
from hypothesis import given, settings
from hypothesis import strategies as st
from random_mask import mask_by_hand

from torchattr.methods._perturbation.random_masks import RandomMasks


def random_masks(shape: tuple[int, ...], grid: tuple[int, ...], **options: Any) -> RandomMasks:
    settled = {"count": 40, "probability": 0.5, "seed": 3, "normalisation": "probability"}
    return RandomMasks([torch.zeros(1, 1, *shape)], grids=[grid], **{**settled, **options})


sizes = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 9)), min_size=1, max_size=3)


@settings(max_examples=40, deadline=None)
@given(sizes, st.integers(0, 39), st.integers(0, 2**64 - 1))
def test_a_mask_depends_on_its_number_alone(sizes: Any, start: int, seed: int) -> None:
    shape = tuple(cells + more for cells, more in sizes)
    features = random_masks(shape, tuple(cells for cells, _ in sizes), seed=seed)
    (every,) = features.masks(0, 40)
    (some,) = features.masks(start, 40)
    assert every is not None
    assert some is not None
    assert every.shape == (40, 1, 1, *shape)
    assert torch.equal(some, every[start:])
    assert 0 <= every.min() <= every.max() <= 1


def test_seeds_and_inputs_have_masks_of_their_own() -> None:
    one, other = (random_masks((9, 9), (3, 3), seed=seed).masks(0, 40)[0] for seed in (3, 4))
    pair = [torch.zeros(1, 1, 9, 9)] * 2
    first, second = RandomMasks(pair, 40, [(3, 3)] * 2, 0.5, 3, "probability").masks(0, 40)
    assert one is not None
    assert torch.equal(first, one)
    assert not torch.equal(one, other)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.8])
def test_each_pixel_lets_through_the_probability_on_average(probability: float) -> None:
    (masks,) = random_masks((20, 11), (4, 3), count=4000, probability=probability).masks(0, 4000)
    assert masks is not None
    error = 5 * (probability * (1 - probability) / 4000) ** 0.5
    assert ((1 - masks).mean(0) - probability).abs().max() < error


def test_shifts_reach_every_place_of_a_cell() -> None:
    """A grid of one cell is constant; the edge of a grid of two takes every position."""
    (masks,) = random_masks((12,), (2,), count=400).masks(0, 400)
    assert masks is not None
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == 2 + 2 * 6


@pytest.mark.parametrize("shape", [(7,), (6, 9), (4, 5, 6)])
def test_masks_are_those_drawn_by_hand(shape: tuple[int, ...]) -> None:
    grid = (3, 2, 4)[: len(shape)]
    masks = RandomMasks([torch.zeros(1, 1, *shape).double()], 5, [grid], 0.4, 9, "probability")
    (replaced,) = masks.masks(0, 5)
    assert replaced is not None
    expected = [torch.from_numpy(mask_by_hand(shape, grid, 0.4, 9, k, 0)) for k in range(5)]
    assert_same(1 - replaced[:, 0, 0], torch.stack(expected), 1e-12)

"""Maps that know nothing of the model, against plain loops."""

from __future__ import annotations

import math

import torch
from helpers import assert_same, noise

from torchattr.evaluate.reference_maps import (
    centre_gaussian,
    random_maps,
    reduced,
    sobel_edges,
)

PICTURES = noise(2, 3, 5, 7)


def test_edges_are_sobel_gradients_of_the_mean_channel() -> None:
    grey = PICTURES.mean(1)
    kernel = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]

    def at(n: int, row: int, column: int) -> float:
        return float(grey[n, min(max(row, 0), 4), min(max(column, 0), 6)])

    def edge(n: int, row: int, column: int) -> float:
        places = [(i, j) for i in range(3) for j in range(3)]
        across = sum(kernel[i][j] * at(n, row + i - 1, column + j - 1) for i, j in places)
        down = sum(kernel[j][i] * at(n, row + i - 1, column + j - 1) for i, j in places)
        return math.hypot(across, down)

    right = [[[edge(n, i, j) for j in range(7)] for i in range(5)] for n in range(2)]
    assert_same(sobel_edges(PICTURES), torch.tensor(right, dtype=torch.float64), 1e-12)


def test_the_centre_is_a_gaussian_of_a_quarter_of_each_side() -> None:
    right = [
        [math.exp(-(((i - 2) / 1.25) ** 2 + ((j - 3) / 1.75) ** 2) / 2) for j in range(7)]
        for i in range(5)
    ]
    found = centre_gaussian(PICTURES)
    assert_same(found, torch.tensor([right] * 2, dtype=torch.float64), 1e-12)


def test_random_maps_depend_on_the_seed_alone() -> None:
    one, same, other = (random_maps(PICTURES, seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.shape == (2, 5, 7)
    assert not torch.equal(one[0], one[1])


def test_maps_are_averaged_down() -> None:
    maps = noise(2, 4, 6)
    assert reduced(maps, (4, 6)) is maps
    right = torch.stack([maps[:, :, :3].mean((1, 2)), maps[:, :, 3:].mean((1, 2))], 1)[:, None]
    assert_same(reduced(maps, (1, 2)), right, 1e-12)

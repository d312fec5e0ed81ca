"""What decides does, and all else does not, which is tried on the networks themselves."""

from __future__ import annotations

import pytest
import torch

from torchattr.evaluate.ground_truth.plants import PLANTS


def cases(name: str):
    pictures, truth = PLANTS[name].pictures(6, 3)
    return pictures, truth.expand_as(pictures.inputs)


def score(pictures, inputs):
    with torch.no_grad():
        return pictures.model(inputs)[:, 1]


@pytest.mark.parametrize("name", PLANTS)
def test_nothing_else_matters(name: str) -> None:
    """Whatever grey or black stands there instead."""
    pictures, truth = cases(name)
    clean = score(pictures, pictures.inputs)
    generator = torch.Generator().manual_seed(1)
    noise = 0.5 + 0.2 * (torch.rand(pictures.inputs.shape, generator=generator) - 0.5)
    for other in (noise, torch.zeros_like(noise)):
        changed = torch.where(truth, pictures.inputs, other)
        torch.testing.assert_close(score(pictures, changed), clean, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", PLANTS)
def test_without_what_decides_there_is_no_score(name: str) -> None:
    pictures, truth = cases(name)
    removed = pictures.inputs.masked_fill(truth, 0)
    assert bool((score(pictures, pictures.inputs) > 0.5).all())
    torch.testing.assert_close(score(pictures, removed), torch.zeros(6), rtol=0, atol=1e-6)


def test_around_a_saturated_picture_the_score_is_flat() -> None:
    pictures, _ = cases("saturated")
    clean = score(pictures, pictures.inputs)
    for row in range(2):
        for column in range(2):
            without = pictures.inputs.clone()
            without[..., 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 0
            assert torch.equal(score(pictures, without), clean)


@torch.no_grad()
def test_what_is_cancelled_is_seen() -> None:
    pictures, truth = cases("cancelled")
    seen = pictures.model[1](pictures.model[0](pictures.inputs))
    assert float(seen[:, 1].amax()) == 0.5
    assert torch.equal(seen[:, 1], seen[:, 2])
    assert not bool(truth[..., 16:, :].any())


def test_the_squares_of_all_colours_are_alike() -> None:
    pictures, truth = cases("colour")
    areas = [(pictures.inputs[:, k] == 1).sum((1, 2)) for k in range(3)]
    assert all(torch.equal(one, areas[0]) for one in areas)
    assert bool((truth[:, 0].sum((1, 2)) == areas[0]).all())


def test_a_seed_gives_the_same_pictures() -> None:
    for plant in PLANTS.values():
        first, again, other = (plant.pictures(2, seed)[0].inputs for seed in (4, 4, 5))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

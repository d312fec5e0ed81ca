"""Maps that know nothing of the model."""

from __future__ import annotations

import torch

from torchattr.evaluate.ground_truth.controls import CONTROLS, centre_map, edge_map, random_map


def test_noise_is_the_same_in_each_call_and_differs_between_pictures() -> None:
    pictures = torch.zeros(3, 3, 8, 8)
    first = random_map(pictures)
    assert torch.equal(first, random_map(pictures + 1))
    assert not torch.equal(first[0], first[1])
    assert first.min() >= 0
    assert first.max() < 1


def test_edges_are_differences_of_neighbours() -> None:
    picture = torch.zeros(1, 3, 5, 6)
    picture[..., 3:] = 2.0
    drawn = edge_map(picture)[0, 0]
    expected = torch.zeros(5, 6)
    expected[:, 2:4] = 2.0 * 3**0.5
    torch.testing.assert_close(drawn, expected)
    torch.testing.assert_close(edge_map(picture.mT), edge_map(picture).mT)


def test_the_centre_is_the_largest() -> None:
    drawn = centre_map(torch.zeros(2, 3, 9, 7))
    assert drawn.shape == (2, 1, 9, 7)
    assert drawn[1, 0].argmax() == 4 * 7 + 3
    torch.testing.assert_close(drawn, drawn.flip(2).flip(3))


def test_names_cannot_be_those_of_methods() -> None:
    assert all(name.startswith("(") for name in CONTROLS)

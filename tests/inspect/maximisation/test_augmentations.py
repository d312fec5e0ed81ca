from __future__ import annotations

import torch
from helpers import assert_same, noise, refused
from torch import Generator

import torchattr as ta
from torchattr.inspect import Affine, Jitter

X = noise(2, 3, 12, 8)


def test_jitter_moves_every_pixel_alike_and_loses_none() -> None:
    generator, seen = Generator().manual_seed(0), set()
    for _ in range(40):
        moved = Jitter(1)(X, generator)
        (shift,) = [
            (a, b)
            for a in (-1, 0, 1)
            for b in (-1, 0, 1)
            if torch.equal(moved, X.roll((a, b), (2, 3)))
        ]
        seen.add(shift)
    assert len(seen) == 9


def test_an_affine_change_of_nothing_is_none() -> None:
    assert_same(Affine((1.0, 1.0), 0.0)(X, Generator()), X, 1e-14)


def test_a_turn_keeps_the_proportions() -> None:
    generator = Generator()
    wide = torch.zeros(1, 1, 41, 81, dtype=torch.float64)
    wide[..., 20, 50:60] = 1
    turned = Affine((1.0, 1.0), 25.0)(wide, generator.manual_seed(1))
    angle = torch.rand(2, generator=Generator().manual_seed(1), dtype=torch.float64)[1]
    angle = torch.deg2rad(25 * (2 * angle - 1))
    place = turned[0, 0].nonzero().double().mean(0) - torch.tensor([20.0, 40.0])
    distance = place.norm()
    assert abs(distance - 14.5) < 0.6, "the stripe kept its distance from the centre"
    assert abs(place[0].abs() / distance - angle.sin().abs()) < 0.05


def test_a_larger_scale_enlarges() -> None:
    image = torch.zeros(1, 1, 40, 40)
    image[..., 15:25, 15:25] = 1
    larger = Affine((1.5, 1.5), 0.0)(image, Generator())
    assert abs(larger.sum() / image.sum() - 1.5**2) < 0.1


def test_only_pictures_can_be_turned() -> None:
    with refused(ta.ShapeError, "(2, 3, 9)", "Jitter"):
        Affine()(noise(2, 3, 9), Generator())

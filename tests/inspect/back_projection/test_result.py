from __future__ import annotations

import torch
from helpers import noise, refused, seeded
from PIL import Image
from torch import nn

import torchattr as ta

X = noise(2, 3, 12, 12, dtype=torch.float32)


def make() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 7, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(7, 5, 3))


def test_picture_has_a_caption_for_each_map() -> None:
    found = ta.back_project(seeded(make), X, "3", "top4")
    drawn = found.picture(example=1, columns=4)
    assert isinstance(drawn, Image.Image)
    assert drawn.width == 4 * 112 + 5 * 4
    assert drawn.height > 112 + 8
    assert found.picture(crop=True).size == found.picture(columns=2).size
    assert repr(found) == (
        "BackProjection('3', start='max', rule='deconvolution', pictures (2, 4, 3, 12, 12))"
    )
    with refused(ta.InputError, "example 2", "batch of 2"):
        found.picture(example=2)


def test_the_picture_is_grey_where_nothing_came_back() -> None:
    found = ta.back_project(seeded(make), X, "3", 0, start=(0, 0))
    assert not found.pictures[..., 8:].any()
    drawn = found.picture()
    assert drawn.getpixel((4 + 110, 60)) == (128, 128, 128)


def test_pieces_are_joined_along_the_maps() -> None:
    def piece(channel: int, positions: torch.Tensor | None) -> ta.BackProjection:
        index = torch.tensor([[channel], [channel]])
        return ta.BackProjection(
            (torch.full((2, 1, 3), channel), torch.zeros(2, 1, 4)),
            index,
            index / 2,
            positions,
            "layer",
            "max",
            "guided",
        )

    place = torch.zeros(2, 1, 2)
    joined = ta.BackProjection.joined([piece(4, place), piece(1, place + 3)])
    assert [tuple(one.shape) for one in joined.pictures] == [(2, 2, 3), (2, 2, 4)]
    assert joined.pictures[0][0, :, 0].tolist() == [4, 1]
    assert joined.channels.tolist() == [[4, 1], [4, 1]]
    assert joined.activations.tolist() == [[2, 0.5], [2, 0.5]]
    assert joined.positions is not None
    assert joined.positions[1].tolist() == [[0, 0], [3, 3]]
    assert (joined.layer, joined.start, joined.rule) == ("layer", "max", "guided")
    assert ta.BackProjection.joined([piece(4, None), piece(1, None)]).positions is None

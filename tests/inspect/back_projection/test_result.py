from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from helpers import noise, refused, seeded
from torch import nn

import torchattr as ta
from torchattr.inspect import draw_input, draw_signal
from torchattr.inspect.back_projection.local_conv import within
from torchattr.show import LIGHT, Drawing
from torchattr.show.elements import Raster
from torchattr.show.text import TextLine

X = noise(2, 3, 12, 12, dtype=torch.float32)


def make() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 7, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(7, 5, 3))


def pictures_of(drawn: Drawing) -> list[Raster]:
    """Return all pictures but the input at the left and the colour bar."""
    return [one for one in drawn.elements if isinstance(one, Raster)][1:-1]


def texts_of(drawn: Drawing) -> list[str]:
    return [one.text for one in drawn.elements if isinstance(one, TextLine)]


def test_each_receptive_field_is_beside_what_comes_back_to_it() -> None:
    model = seeded(make)
    found = ta.back_project(model, X, "3", "top4")
    seen = draw_input(X[1])
    for number, (patch, sent) in enumerate(batched(pictures_of(found.draw(1)))):
        assert found.fields is not None
        assert found.positions is not None
        field = found.fields[1][number]
        place = found.positions[1, number].tolist()
        assert field == ta.receptive_field(model, X[1:], "3", place)
        assert np.array_equal(patch.pixels, seen[field])
        assert np.array_equal(sent.pixels, draw_signal(found.pictures[1, number][within(field)]))
        assert sent.box[0] == patch.box[0] + patch.box[2] + 4
        assert min(patch.box[2:]) >= 192
    assert repr(found) == (
        "BackProjection('3', start='max', rule='deconvolution', pictures (2, 4, 3, 12, 12))"
    )
    with refused(ta.InputError, "example 2", "batch of 2"):
        found.picture(example=2)


def test_fields_that_are_cut_off_lie_in_windows_of_one_size() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 5, padding=2), nn.ReLU())
    whole = ta.back_project(model, X, "1", 0, start=(6, 6))
    cut = ta.back_project(model, X, "1", [0, 1, 2])
    assert cut.fields is not None
    edges = ((slice(0, 3), slice(0, 5)), (slice(2, 7), slice(9, 12)), (slice(2, 7), slice(2, 7)))
    cut = replace(cut, fields=(edges, edges))
    outside = LIGHT.colors.rule
    pairs = batched(pictures_of(cut.draw(0)))
    assert {one.pixels.shape for pair in pairs for one in pair} == {(5, 5, 3)}
    seen = draw_input(X[0])
    assert (pairs[0][0].pixels[:2] == outside).all()
    assert np.array_equal(pairs[0][0].pixels[2:], seen[edges[0]])
    assert (pairs[1][1].pixels[:, 3:] == outside).all()
    assert np.array_equal(pairs[1][0].pixels[:, :3], seen[edges[1]])
    assert np.array_equal(pairs[2][0].pixels, seen[edges[2]])
    assert "lie outside of the picture" in " ".join(texts_of(cut.draw(0)))
    assert "outside" not in " ".join(texts_of(whole.draw(0)))


def batched(pictures: list[Raster]) -> list[tuple[Raster, Raster]]:
    return list(zip(pictures[::2], pictures[1::2], strict=True))


def test_whole_pictures_are_drawn_if_asked_for_and_of_whole_maps() -> None:
    model = seeded(make)
    cases: Any = (
        (ta.back_project(model, X, "3", "top4"), {"crop": False}),
        (ta.back_project(model, X, "3", "top4", start="map"), {}),
    )
    for found, options in cases:
        shapes = {one.pixels.shape for one in pictures_of(found.draw(**options))}
        assert shapes == {(12, 12, 3)}
        assert len(pictures_of(found.draw(only=[2], **options))) == 1
    assert found.fields is None


def test_a_field_of_the_whole_input_is_not_repeated() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 12), nn.ReLU())
    found = ta.back_project(model, X, "1", "top3")
    assert found.fields == (((slice(0, 12), slice(0, 12)),) * 3,) * 2
    assert len(pictures_of(found.draw())) == 3


def test_captions_and_titles_say_what_is_shown() -> None:
    found = ta.back_project(seeded(make), X, "3", "top2", rule="guided")
    first, second = found.activations[0].tolist()
    assert found.positions is not None
    place = ", ".join(map(str, found.positions[0, 0].tolist()))
    said = texts_of(found.draw())
    assert " ".join(said).startswith(
        "Back-projections of 3 guided backpropagation · from the largest value of each map"
        " · the strongest first · the receptive field, and what comes back to it"
    )
    assert f"channel {found.channels[0, 0]} · activation {first:.3g}" in said
    assert f"at position ({place})" in said
    assert first >= second
    listed = ta.back_project(seeded(make), X, "3", found.channels[0].flip(0).tolist())
    assert "strongest first" not in texts_of(listed.draw())[1]


def test_fields_are_those_of_the_example_and_functional_layers_have_them() -> None:
    found = ta.BackProjector(seeded(make), X, "r").project("top2", fields=False)
    assert found.fields is None
    shown = ta.BackProjector(seeded(make), X, "r", chunk=3).project("top5")
    assert shown.fields is not None
    assert [len(one) for one in shown.fields] == [5, 5]
    assert shown.fields[0] != shown.fields[1]


def test_the_picture_is_grey_where_nothing_came_back() -> None:
    found = ta.back_project(seeded(make), X, "3", 0, start=(0, 0))
    assert not found.pictures[..., 8:].any()
    (whole,) = pictures_of(found.draw(crop=False))
    assert (whole.pixels[:, 8:] == 128).all()


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

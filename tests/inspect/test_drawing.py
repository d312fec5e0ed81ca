"""Planes on a grid: enlarged by whole factors, signed around zero, never too large."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import refused

from torchattr.errors import InputError, LayerError
from torchattr.inspect.drawing import (
    Planes,
    PlaneStyle,
    chosen_indices,
    map_tile,
    photo_size,
    photo_tiles,
)
from torchattr.show import colormap


def test_planes_of_each_dimension() -> None:
    assert Planes.of(torch.ones(2, 20), ["a", "b"]).values.shape == (2, 3, 20)
    assert Planes.of(torch.ones(2, 4, 5), ["a", "b"]).captions == ["a", "b"]
    volume = Planes.of(torch.arange(48.0).reshape(2, 2, 3, 4), ["a", "b"])
    assert volume.captions == ["a, plane 0", "a, plane 1", "b, plane 0", "b, plane 1"]
    assert volume.values[2, 0, 0] == 24
    with refused(LayerError, "4 dimensions after the channel"):
        Planes.of(torch.ones(2, 1, 1, 1, 1), ["a", "b"])
    with refused(LayerError, "nothing to draw"):
        Planes.of(torch.ones(2, 0, 3), ["a", "b"])


def style(shared: bool = False, percentile: float | None = None, **options: Any) -> PlaneStyle:
    return PlaneStyle(shared, percentile, options.pop("cmap", None), None, 64, **options)


def planes(*values: Any) -> Planes:
    return Planes(np.array(values, float), [f"map {number}" for number in range(len(values))])


def test_signed_values_have_two_colours() -> None:
    gallery, _, _ = style().gallery(planes([[-1.0, 1.0]]))
    left, right = gallery.tiles[0].pictures[0][0].astype(int)
    assert left[2] > left[0]
    assert right[0] > right[2]


def test_captions_hold_what_the_colours_stand_for() -> None:
    positive, _, note = style().gallery(planes([[0.0, 12.345]], [[0.0, 0.5]]))
    assert [tile.caption for tile in positive.tiles] == [["map 0 · max 12.3"], ["map 1 · max 0.5"]]
    assert "own largest magnitude; its largest value" in note
    signed, _, note = style(percentile=90).gallery(planes([[-0.25, 2.0]]))
    assert signed.tiles[0].caption == ["map 0 · −0.25 to 2"]
    assert "its range" in note
    assert "percentile 90" in note


@pytest.mark.parametrize(
    ("values", "shared", "ends"),
    [
        ([[0.0, 4.0], [1.0, 2.0]], False, ("0", "max")),
        ([[0.0, 4.0], [1.0, 2.0]], True, ("0", "4")),
        ([[-1.0, 4.0], [1.0, 2.0]], False, ("−0.25 max", "max")),
        ([[-1.0, 4.0], [1.0, 2.0]], True, ("−1", "4")),
        ([[-4.0, -1.0], [-8.0, 2.0]], True, ("−8", "2")),
        ([[0.0, 0.0], [0.0, 0.0]], False, ("0", "0")),
    ],
)
def test_the_colour_bar_ends_with_the_colours_that_are_drawn(
    values: Any, shared: bool, ends: tuple[str, str]
) -> None:
    gallery, (legend,), _ = style(shared).gallery(planes(values))
    assert legend.ends == ends
    drawn = np.concatenate([tile.pictures[0].reshape(-1, 3) for tile in gallery.tiles])
    lowest = colormap(0.0, "RdBu_r" if np.min(values) < 0 else "viridis")
    shown = {tuple(color) for color in (*drawn, lowest)}
    assert {tuple(legend.bar[0, 0]), tuple(legend.bar[0, -1])} <= shown


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((7, 7), (196, 196)),
        ((56, 56), (224, 224)),
        ((300, 300), (300, 300)),
        ((13, 100), (500, 65)),
    ],
)
def test_maps_are_enlarged_by_whole_factors(shape: tuple[int, int], size: tuple[int, int]) -> None:
    assert map_tile(np.zeros((*shape, 3), np.uint8), 192, ["a"]).size == size


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((224, 224), (224, 224)),
        ((96, 96), (192, 192)),
        ((1000, 500), (384, 192)),
        ((600, 300), (576, 288)),
        ((500, 300), (500, 300)),
        ((1200, 300), (576, 144)),
        ((2, 2), (192, 192)),
    ],
)
def test_the_shorter_side_of_a_picture_is_a_cell_at_least(
    size: tuple[int, int], shown: tuple[int, int]
) -> None:
    assert photo_size(*size, 192) == shown


def test_pictures_of_one_grid_have_one_magnification() -> None:
    several = [[np.zeros((*shape, 3), np.uint8)] * 2 for shape in ((20, 20), (10, 20), (5, 5))]
    tiles = photo_tiles(several, [["a"]] * 3, 200)
    assert [tile.size for tile in tiles] == [(200, 200), (200, 100), (50, 50)]
    assert not any(tile.smooth for tile in tiles)
    assert photo_tiles([[np.zeros((150, 150, 3), np.uint8)]], [["a"]], 200)[0].smooth


@pytest.mark.parametrize(
    ("chosen", "found"),
    [(None, [0, 1, 2]), (2, [2]), (-1, [2]), ([2, 0, 2], [2, 0, 2]), (range(2), [0, 1])],
)
def test_positions(chosen: Any, found: list[int]) -> None:
    assert chosen_indices(chosen, 3, "channels") == found


@pytest.mark.parametrize("chosen", [3, -4, [0, 3], [0.5], ["0"], []])
def test_positions_out_of_range(chosen: Any) -> None:
    with refused(InputError, "channels"):
        chosen_indices(chosen, 3, "channels")

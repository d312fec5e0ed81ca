"""Planes on a grid: enlarged by whole factors, signed around zero, never too large."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import refused

from torchattr.errors import InputError, LayerError
from torchattr.inspect.drawing import Planes, chosen_indices, draw, labelled, tile


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


def test_each_value_becomes_a_square_of_pixels() -> None:
    planes = Planes(np.array([[[1.0, 0.0], [0.0, 1.0]]]), ["a"])
    picture = np.asarray(draw(planes, False, None, "gray", None, 64))[4:68, 4:68, 0]
    expected = np.kron(np.array([[255, 0], [0, 255]]), np.ones((32, 32)))
    assert np.array_equal(picture, expected)


def test_captions_fit_below_their_picture() -> None:
    small = np.zeros((1, 2, 2, 3), np.uint8)
    assert tile(small, ["a"], None, 10).width < tile(small, ["a rather long one"], None, 10).width
    assert tile(small, ["word " * 200], None, 10).width <= 168


def test_signed_values_have_two_colours() -> None:
    both = np.asarray(draw(Planes(np.array([[[-1.0, 1.0]]]), ["a"]), False, None, None, None, 64))
    left, right = both[10, 10].astype(int), both[10, 60].astype(int)
    assert left[2] > left[0]
    assert right[0] > right[2]


def test_too_large_a_picture_is_refused() -> None:
    pictures = np.zeros((200, 10, 10, 3), np.uint8)
    with refused(InputError, "200 pictures of 1000 × 1000 pixels", "choose some of the channels"):
        tile(pictures, ["a"] * 200, None, 1000)


def test_labels_hold_the_magnitude() -> None:
    assert labelled(["7"], [12.345]) == ["7: 12"]


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

"""Pictures of concepts."""

from __future__ import annotations

import numpy as np
from helpers import refused

from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.show import concept_colors, concept_picture


def halves() -> np.ndarray:
    maps = np.zeros((2, 4, 8))
    maps[0, :, :4], maps[1, :, 4:] = 5.0, 0.1
    return maps


def test_each_place_has_the_colour_of_its_strongest_concept() -> None:
    drawn = concept_picture(np.full((4, 8), 0.5), halves(), alpha=1.0)
    colors = np.rint(concept_colors(2)).astype(np.uint8)
    np.testing.assert_array_equal(drawn[0, 0], colors[0])
    np.testing.assert_array_equal(drawn[-1, -1], colors[1])
    assert len({tuple(color) for color in concept_colors(12)}) == 12


def test_the_picture_is_grey_beneath_the_concepts() -> None:
    red = np.broadcast_to(np.array([200, 40, 40], np.uint8), (4, 8, 3))
    drawn = concept_picture(red, np.zeros((2, 4, 8))).reshape(-1, 3)
    assert (drawn == drawn[:, :1]).all()
    assert 80 < drawn[0, 0] < 100


def test_concepts_can_be_told_apart_in_their_brightness_or_hue() -> None:
    for count in (2, 7, 9):
        colors = concept_colors(count)
        apart = np.abs(colors[:, None] - colors[None]).sum(2)
        assert apart[~np.eye(count, dtype=bool)].min() > 80


def test_nothing_is_drawn_where_there_is_no_concept() -> None:
    gray = np.full((4, 8, 3), 100, np.uint8)
    np.testing.assert_array_equal(concept_picture(gray, np.zeros((2, 4, 8))), gray)


def test_a_legend_names_the_concepts() -> None:
    plain = concept_picture(np.zeros((64, 256)), halves())
    named = concept_picture(np.zeros((64, 256)), halves(), ["sky", "dog"])
    assert named.shape[0] > plain.shape[0]
    assert named.dtype == np.uint8


def test_bad_arguments_are_refused() -> None:
    with refused(InputError, "labels", "1 entries for 2"):
        concept_picture(np.zeros((4, 8)), halves(), ["sky"])
    with refused(InputError, "alpha"):
        concept_picture(np.zeros((4, 8)), halves(), alpha=2)
    with refused(ShapeError, "(k, h, w)"):
        concept_picture(np.zeros((4, 8)), halves()[0])


def test_arguments_of_wrong_types_are_refused() -> None:
    maps = np.ones((2, 4, 4))
    with refused(InputTypeError, "alpha must be a number", "'a'"):
        concept_picture(np.zeros((4, 4)), maps, alpha="a")  # type: ignore[arg-type]
    for labels in ("ab", 2.5, [1, 2]):
        with refused(InputTypeError, "labels must be a sequence of texts"):
            concept_picture(np.zeros((4, 4)), maps, labels)  # type: ignore[arg-type]

from __future__ import annotations

import numpy as np
import pytest

from torchattr.models.collage.making.scenes import (
    BACKGROUNDS,
    CLASSES,
    SIZE,
    compose,
    scene,
    scenes,
)

SERIES = list(scenes(60, seed=5))


def test_the_same_seed_gives_the_same_scenes() -> None:
    again = list(scenes(3, seed=5))
    for first, second in zip(SERIES, again, strict=False):
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.masks, second.masks)
        assert (first.labels, first.boxes) == (second.labels, second.boxes)


def test_another_seed_gives_other_scenes() -> None:
    assert not np.array_equal(SERIES[0].image, scene(6, 0).image)


def test_a_series_can_start_anywhere() -> None:
    [tenth] = scenes(1, seed=5, start=10)
    np.testing.assert_array_equal(tenth.image, SERIES[10].image)


def test_every_class_and_every_number_of_objects_turns_up() -> None:
    assert {name for made in SERIES for name in made.labels} == set(CLASSES)
    assert {len(made.labels) for made in SERIES} == {1, 2, 3}


def test_labels_differ_within_a_scene_and_each_has_its_box_and_mask() -> None:
    for made in SERIES:
        assert len(set(made.labels)) == len(made.labels) == len(made.boxes) == len(made.masks)
        assert made.image.shape == (SIZE, SIZE, 3)
        assert made.image.dtype == np.uint8


def test_boxes_are_the_tightest_around_their_masks() -> None:
    for made in SERIES:
        for (x0, y0, x1, y1), mask in zip(made.boxes, made.masks, strict=True):
            inside = mask[y0:y1, x0:x1]
            assert inside.sum() == mask.sum()
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()


def test_no_pixel_belongs_to_two_objects() -> None:
    for made in SERIES:
        assert made.masks.sum(0).max() <= 1


def test_an_object_is_where_its_mask_says() -> None:
    with_horse = compose(np.random.default_rng(3), ("horse",), background="galaxies")
    colour = with_horse.image.astype(float)
    brown = colour[..., 0] - colour[..., 2]
    assert brown[with_horse.masks[0]].mean() > 30 > brown[~with_horse.masks[0]].mean()


@pytest.mark.parametrize("size", [96, 320])
def test_the_size_is_as_asked(size: int) -> None:
    made = scene(5, 0, size)
    assert made.image.shape == (size, size, 3)
    assert made.masks.shape[1:] == (size, size)


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_every_background_can_be_chosen(background: str) -> None:
    assert compose(np.random.default_rng(0), ("cat",), 64, background).labels == ("cat",)

"""Stored pictures and results: their raw values and their drawings."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from torchattr.models import LoadedModel
from torchattr.web.map_style import MapStyle
from torchattr.web.state.stored import (
    StoredFeatureMaps,
    StoredFigure,
    StoredMap,
    StoredPicture,
    as_npz,
    as_png,
    fitted,
)


@pytest.mark.parametrize(
    ("size", "expected"), [((40, 20), (40, 20)), ((400, 100), (64, 16)), ((2, 640), (1, 64))]
)
def test_only_larger_pictures_are_scaled_down(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert fitted(Image.new("RGB", size), 64).size == expected


def test_a_map_is_drawn_at_the_size_of_its_picture(demo: LoadedModel) -> None:
    prepared = demo.preprocess(Image.new("RGB", (100, 50), "white"))
    stored = StoredMap("map", np.ones((1, 4, 4), np.float32), MapStyle("heat"), prepared)
    assert stored.draw(stored.style, 1000).size == (100, 50)
    assert stored.draw(stored.style, 20).size == (20, 10)
    assert set(stored.arrays()) == {"map", "box"}
    assert StoredPicture("photo", prepared).arrays()["tensor"].shape == (3, 128, 128)


def test_one_feature_map_is_enlarged_by_an_integer_factor() -> None:
    values = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    maps = StoredFeatureMaps("maps", "layer", values)
    assert maps.draw(1, 7, False, None).size == (6, 6)
    own, shared = (np.asarray(maps.draw(0, 2, shared, "gray")) for shared in (False, True))
    assert own.max() == 255
    assert shared.max() == round(255 * 3 / 7)


def test_files_hold_the_pixels_and_arrays() -> None:
    image = Image.effect_noise((9, 5), 50).convert("RGB")
    np.testing.assert_array_equal(Image.open(io.BytesIO(as_png(image))), image)
    with np.load(io.BytesIO(as_npz({"map": np.eye(3)})), allow_pickle=False) as file:
        np.testing.assert_array_equal(file["map"], np.eye(3))
    assert StoredFigure("figure", "<svg/>").arrays() == {}

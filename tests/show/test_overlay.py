import numpy as np
import pytest
import torch
from PIL import Image

from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.show import colormap, overlay, resize_map

PICTURE = np.full((4, 6, 3), 100, np.uint8)


def test_the_picture_shows_where_the_map_is_zero_and_the_colour_where_it_is_one():
    values = np.zeros((4, 6))
    values[1, 2] = 1
    drawn = overlay(PICTURE, values, alpha=1.0)
    np.testing.assert_array_equal(drawn[1, 2], colormap(1.0, "viridis"))
    drawn[1, 2] = 100
    np.testing.assert_array_equal(drawn, PICTURE)


def test_opacity_follows_the_value_or_not():
    values = np.full((4, 6), 0.5)
    color = colormap(0.5, "viridis").astype(float)
    for follow, opacity in ((True, 0.4), (False, 0.8)):
        drawn = overlay(PICTURE, values, alpha=0.8, follow=follow)
        np.testing.assert_allclose(drawn[0, 0], 100 + (color - 100) * opacity, atol=0.51)


def test_a_threshold_clears_weak_values():
    drawn = overlay(PICTURE, [[0.2] * 3 + [0.9] * 3] * 4, threshold=0.5)
    assert (drawn[:, :3] == 100).all()
    assert (drawn[:, 3:] != 100).any(-1).all()


def test_negative_values_are_drawn_in_the_other_colour():
    drawn = overlay(PICTURE, [[-1.0] * 3 + [1.0] * 3] * 4, alpha=1.0).astype(int)
    assert drawn[0, 0, 2] > drawn[0, 0, 0]
    assert drawn[0, 5, 0] > drawn[0, 5, 2]


def test_unknown_pixels_keep_the_picture_or_fade():
    values = np.full((4, 6), np.nan)
    values[:, :3] = 0
    np.testing.assert_array_equal(overlay(PICTURE, values), PICTURE)
    faded = overlay(PICTURE, values, fade=1.0)
    assert (faded[:, 3:] == 255).all()
    assert (faded[:, :3] == 100).all()


def test_the_picture_beneath_turns_to_the_grey_of_zero():
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[:, :3], picture[:, 3:] = (255, 0, 0), (0, 0, 255)
    values = np.zeros((4, 6))
    for cmap, grey in (("gray", 0), ("RdBu_r", 247)):
        whole = overlay(picture, values, cmap=cmap, dim=1.0)
        np.testing.assert_allclose(whole, np.full_like(whole, grey), atol=1)
        half = overlay(picture, values, cmap=cmap, dim=0.5).astype(int)
        assert 20 < np.ptp(half[0, 0]) < 130
        assert (half[0, 0] != half[0, 5]).any()
    unknown = overlay(picture, np.full((4, 6), np.nan), dim=0.5)
    np.testing.assert_array_equal(unknown, picture)


def test_a_small_map_is_resized_and_forms_may_differ():
    image = torch.full((3, 40, 60), 0.5)
    drawn = overlay(image, torch.tensor([[[0.0, 1.0]]]), alpha=1.0)
    assert drawn.shape == (40, 60, 3)
    np.testing.assert_array_equal(drawn[0, 0], [128, 128, 128])
    assert overlay(Image.new("P", (60, 40)), np.ones((2, 2))).shape == (40, 60, 3)


def test_resizing_keeps_the_range_and_the_axes():
    values = np.random.default_rng(0).uniform(-1, 1, (2, 3, 5, 5))
    resized = resize_map(values, (17, 9))
    assert resized.shape == (2, 3, 17, 9)
    assert (np.abs(resized) <= 1).all()
    expected = torch.nn.functional.interpolate(torch.tensor(values), (15, 15), mode="bilinear")
    np.testing.assert_allclose(resize_map(values, (15, 15)), expected, atol=1e-5)


def test_wrong_arguments_are_named():
    for name in ("alpha", "threshold", "fade", "dim"):
        with pytest.raises(InputError, match=rf"{name} must lie in 0\.\.1, got 1\.5"):
            overlay(PICTURE, np.zeros((4, 6)), **{name: 1.5})
    with pytest.raises(InputError, match="use rescale first"):
        overlay(PICTURE, np.full((4, 6), 3.0))
    with pytest.raises(ShapeError, match=r"values must be one map.*\(3, 4, 6\)"):
        overlay(PICTURE, np.zeros((3, 4, 6)))
    with pytest.raises(ShapeError, match=r"image must be a picture.*\(5,\)"):
        overlay(np.zeros(5), np.zeros((4, 6)))


@pytest.mark.parametrize("name", ["alpha", "threshold", "fade", "dim"])
def test_shares_that_are_no_numbers_are_named(name):
    with pytest.raises(InputTypeError, match=f"{name} must be a number, got str 'a'"):
        overlay(np.zeros((4, 4)), np.zeros((2, 2)), **{name: "a"})


@pytest.mark.parametrize("cmap", [[], "", {"a": 1}, torch.zeros(2)])
def test_what_is_no_colour_map_is_named(cmap):
    with pytest.raises(InputError, match="colour map must be one of"):
        overlay(np.zeros((4, 4)), np.zeros((2, 2)), cmap=cmap)


def test_only_maps_are_resized_to_sizes():
    for values in (1.0, [], [1.0]):
        with pytest.raises(ShapeError, match="values must be maps"):
            resize_map(values, (4, 4))
    for size in (4, "ab", None, (4,), (4, 0), (4.0, 4)):
        with pytest.raises(InputError, match="size must be the height and width"):
            resize_map(np.zeros((2, 2)), size)


def test_sizes_may_be_arrays_and_tensors():
    for size in (np.array([4, 2]), torch.tensor([4, 2]), torch.Size([4, 2])):
        assert resize_map(np.zeros((2, 2)), size).shape == (4, 2)

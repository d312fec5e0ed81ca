"""Grey levels of values of more than 8 bits; test_images reads files of them."""

import warnings

import numpy as np
import pytest

from torchattr.errors import ImageError
from torchattr.models import BrightnessWarning, grey_levels


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        (np.array([0, 257, 65535], np.uint16), [0, 1, 255]),
        (np.array([0.0, 0.5, 1.0], np.float32), [0, 128, 255]),
        (np.array([0.0, 128.0, 255.0]), [0, 128, 255]),
        (np.array([0, 0]), [0, 0]),
    ],
)
def test_full_ranges_are_divided_by_their_largest_value(values, levels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert grey_levels(values, "a.png").tolist() == levels


def test_fewer_bits_are_noticed():
    with pytest.warns(BrightnessWarning, match="assumed to have 12 bits"):
        assert grey_levels(np.array([0, 4095]), "a.png").tolist() == [0, 255]


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ImageError, match=r"a\.png: the image contains NaN"):
        grey_levels(np.array([np.nan]), "a.png")

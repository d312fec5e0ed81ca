import numpy as np
import pytest
import torch

from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.show import box_from_map, largest_component


def flood(mask):
    """The largest component by repeated spreading: slow, and independent of the implementation."""
    best = np.zeros_like(mask)
    left = mask.copy()
    while left.any():
        part = np.zeros_like(mask)
        part[np.unravel_index(left.argmax(), mask.shape)] = True
        while True:
            grown = part.copy()
            grown[1:] |= part[:-1]
            grown[:-1] |= part[1:]
            grown[:, 1:] |= part[:, :-1]
            grown[:, :-1] |= part[:, 1:]
            grown &= mask
            if (grown == part).all():
                break
            part = grown
        left &= ~part
        if part.sum() > best.sum():
            best = part
    return best


@pytest.mark.parametrize("seed", range(30))
def test_components_agree_with_flooding(seed):
    generator = np.random.default_rng(seed)
    shape = generator.integers(1, 20, 2)
    mask = generator.random(shape) < generator.uniform(0.2, 0.8)
    np.testing.assert_array_equal(largest_component(mask), flood(mask))


def test_a_spiral_is_one_component():
    mask = np.zeros((9, 9), bool)
    mask[0] = mask[8] = mask[:, 8] = mask[2:, 0] = mask[2, :7] = mask[2:7, 6] = True
    assert largest_component(mask).sum() == mask.sum()


def test_pixels_that_touch_by_a_corner_are_apart():
    assert largest_component(np.eye(3, dtype=bool)).tolist()[0] == [True, False, False]
    assert largest_component(np.eye(3, dtype=bool)).sum() == 1


def test_the_box_holds_the_largest_region_only():
    values = torch.zeros(1, 1, 20, 30)
    values[..., 3:7, 10:15] = 0.8
    values[..., 15, 2] = 1.0
    assert box_from_map(values) == (10, 3, 15, 7)
    assert box_from_map(values, threshold=0.9) == (2, 15, 3, 16)


def test_nothing_positive_has_no_box():
    assert box_from_map(np.zeros((3, 3))) is None
    assert box_from_map(np.full((3, 3), -1.0)) is None
    assert box_from_map([[np.nan, 2.0]]) == (1, 0, 2, 1)


def test_wrong_arguments_are_named():
    for threshold in (0, 1.1):
        with pytest.raises(InputError, match="threshold must be above 0"):
            box_from_map(np.ones((2, 2)), threshold)
    with pytest.raises(ShapeError, match=r"\(3, 2, 2\)"):
        box_from_map(np.ones((3, 2, 2)))


def test_a_threshold_that_is_no_number_is_named():
    with pytest.raises(InputTypeError, match="threshold must be a number, got str 'a'"):
        box_from_map(np.ones((2, 2)), "a")

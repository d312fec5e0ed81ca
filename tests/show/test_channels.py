import numpy as np
import pytest
import torch

from torchattr.errors import InputError, ShapeError
from torchattr.show import reduce_channels

VALUES = torch.tensor([[3.0, 0.0], [-4.0, 0.0], [1.0, 0.0]]).reshape(1, 3, 1, 2)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("sum", 0.0),
        ("mean", 0.0),
        ("max_abs", 4.0),
        ("l2", 26**0.5),
        ("luma", 3 * 0.299 - 4 * 0.587 + 0.114),
    ],
)
def test_each_reduction_by_hand(how, expected):
    np.testing.assert_allclose(reduce_channels(VALUES, how), [[[expected, 0]]], atol=1e-6)
    np.testing.assert_allclose(reduce_channels(VALUES[0], how), [[expected, 0]], atol=1e-6)
    moved = VALUES.movedim(1, 3)
    np.testing.assert_allclose(reduce_channels(moved, how, axis=-1), [[[expected, 0]]], atol=1e-6)


def test_the_norm_of_tiny_and_huge_values():
    for scale in (1e-30, 1e30):
        values = np.array([3 * scale, 4 * scale], np.float32).reshape(2, 1, 1)
        np.testing.assert_allclose(reduce_channels(values, "l2"), [[5 * scale]], rtol=1e-6)


def test_the_deviation_is_taken_map_by_map_and_leaves_unknown_places_out():
    maps = np.array([[[[1.0, 3.0]], [[2.0, 6.0]]], [[[5.0, 5.0]], [[0.0, 0.0]]]])
    assert reduce_channels(maps, "deviation").tolist() == [[[-3, 3]], [[0, 0]]]
    unknown = np.array([[[1.0, np.nan, 3.0]]], np.float32)
    np.testing.assert_array_equal(reduce_channels(unknown, "deviation"), [[-1, np.nan, 1]])
    assert np.isnan(reduce_channels(np.full((1, 2, 2), np.nan), "deviation")).all()


def test_luma_keeps_a_single_channel():
    assert reduce_channels(np.full((1, 2, 2), 7.0), "luma").tolist() == [[7, 7], [7, 7]]


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match="how must be one of"):
        reduce_channels(VALUES, "max")
    with pytest.raises(ShapeError, match="luma needs three channels, or one, got 2"):
        reduce_channels(np.zeros((2, 4, 4)), "luma")
    with pytest.raises(ShapeError, match=r"channels along axis -3.*\(4, 4\)"):
        reduce_channels(np.zeros((4, 4)))
    with pytest.raises(ShapeError, match="channels along axis"):
        reduce_channels(np.zeros((0, 4, 4)))

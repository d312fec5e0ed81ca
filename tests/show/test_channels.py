from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from torchattr.errors import InputError, ShapeError
from torchattr.show import reduce_channels
from torchattr.show.channels import LUMA

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


FLOATS = [np.float64, np.float32, np.float16]


def _column(channels, dtype=np.float64) -> np.ndarray:
    return np.asarray(channels, np.float64).astype(dtype).reshape(-1, 1, 1)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize(
    ("how", "channels"),
    [
        ("luma", [0.587, -0.299, 0.0]),
        ("luma", [0.114, 0.114, -0.886]),
        ("sum", [0.1, 0.2, -0.3]),
        ("sum", [0.1] * 20 + [-2.0]),
        ("mean", [1 / 3, 1 / 3, -2 / 3]),
        ("mean", [0.7, -0.4, -0.2, -0.1]),
    ],
)
def test_channels_that_cancel_up_to_rounding_are_zero(how, channels, scale, dtype):
    assert reduce_channels(_column(channels, dtype) * dtype(scale), how).tolist() == [[0]]


@pytest.mark.parametrize("how", ["luma", "sum", "mean"])
def test_a_tensor_of_half_precision_cancels_in_its_own_type(how):
    channels = {"luma": [0.587, -0.299, 0.0], "sum": [0.1, 0.2, -0.3], "mean": [0.7, -0.4, -0.3]}
    values = torch.tensor(channels[how], dtype=torch.bfloat16).reshape(3, 1, 1)
    assert reduce_channels(values, how).tolist() == [[0]]
    assert reduce_channels(values.double(), how).any()


def test_many_terms_that_cancel():
    for dtype in (np.float64, np.float32):
        ones = np.full((1000, 2, 2), 0.1, dtype)
        values = np.concatenate([ones, np.full((1, 2, 2), -100, dtype)])
        for axis, moved in ((0, values), (-1, np.moveaxis(values, 0, -1))):
            assert not reduce_channels(moved, "sum", axis).any()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_map_that_is_level_up_to_rounding_has_no_deviation(dtype):
    level = np.array([0.1 + 0.2, 0.3, 0.6 - 0.3, 0.7 - 0.4], dtype)
    values = np.stack([level, level * 3]).reshape(2, 2, 2)
    assert not reduce_channels(values, "deviation").any()
    values[0, 0, 0] *= dtype(1.001)
    assert (reduce_channels(values, "deviation") != 0).all()


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1.0, 1e30, 1e300])
@pytest.mark.parametrize("how", ["luma", "sum", "mean", "deviation"])
def test_what_is_small_but_no_rounding_stays(how, scale):
    values = np.array([[[1.0, 2.0]], [[-1.0 + 1e-9, 0.0]], [[0.0, 0.0]]]) * scale
    weights = {"luma": [0.299, 0.587, 0.114], "mean": [1 / 3] * 3}.get(how, [1, 1, 1])
    expected = np.tensordot(weights, values, 1)
    expected -= expected.mean() if how == "deviation" else 0
    np.testing.assert_allclose(reduce_channels(values, how), expected, rtol=1e-6)
    assert (reduce_channels(values, how) != 0).all()


def test_whole_numbers_are_exact():
    for kind in (np.uint8, np.int32, torch.tensor):
        values = [[[255]], [[254]], [[0]]]
        array = kind(values) if kind is torch.tensor else np.array(values, kind)
        assert reduce_channels(array, "sum").tolist() == [[509]]
    assert reduce_channels(np.array([[[2**20]], [[1 - 2**20]]]), "sum").tolist() == [[1]]


@pytest.mark.parametrize("how", ["luma", "sum", "mean"])
def test_unknown_places_stay_unknown(how):
    values = np.zeros((3, 1, 2))
    values[:, 0, 1] = [np.nan, 1.0, -1.0]
    np.testing.assert_array_equal(reduce_channels(values, how), [[0, np.nan]])


@given(
    hnp.arrays(np.float32, (5, 2, 2), elements=st.floats(-(2.0**90), 2.0**90, width=32)),
    st.sampled_from(["sum", "mean", "luma"]),
)
def test_no_sum_is_further_off_than_its_terms_explain(values, how):
    values = values[:3] if how == "luma" else values
    weights = {"luma": LUMA, "mean": [0.2] * 5, "sum": [1.0] * 5}[how]
    found = reduce_channels(values, how)
    for place in np.ndindex(2, 2):
        terms = [
            Fraction(w) * Fraction(float(v))
            for w, v in zip(weights, values[(slice(None), *place)], strict=True)
        ]
        error = Fraction(float(found[place])) - sum(terms)
        assert abs(error) <= 3 * 2**-23 * sum(map(abs, terms)) + 2**-149

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.show import deprocess_image, image_normalization, rescale

SIGNS = ("positive", "negative", "all", "absolute")


def test_each_sign_by_hand():
    values = [[2.0, -4.0], [0.0, 1.0]]
    np.testing.assert_allclose(rescale(values), [[1, 0], [0, 0.5]])
    np.testing.assert_allclose(rescale(values, "negative"), [[0, 1], [0, 0]])
    np.testing.assert_allclose(rescale(values, "all"), [[0.5, -1], [0, 0.25]])
    np.testing.assert_allclose(rescale(values, "absolute"), [[0.5, 1], [0, 0.25]])


@pytest.mark.parametrize("sign", SIGNS)
def test_each_image_has_its_own_scale_unless_shared(sign):
    values = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    values[1] *= 100
    own = rescale(values, sign)
    for i in range(3):
        np.testing.assert_array_equal(own[i], rescale(values[i], sign, shared=True))
        assert np.abs(own[i]).max() == 1
    shared = rescale(values, sign, shared=True)
    assert np.abs(shared[0]).max() < 0.1
    assert np.abs(shared[1]).max() == 1


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("fill", [0.0, 3.0, -3.0])
def test_one_sided_and_empty_maps_hold_no_nan(sign, fill):
    scaled = rescale(np.full((2, 1, 3, 3), fill), sign)
    expected = {
        "positive": float(fill > 0),
        "negative": float(fill < 0),
        "all": np.sign(fill),
        "absolute": float(fill != 0),
    }
    assert (scaled == expected[sign]).all()


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=4),
        elements=st.floats(-(2.0**100), 2.0**100, width=32),
    ),
    st.sampled_from(SIGNS),
    st.sampled_from([None, 50.0, 99.0]),
    st.booleans(),
)
def test_the_range_always_holds(values, sign, percentile, shared):
    scaled = rescale(values, sign, percentile, shared)
    assert scaled.shape == values.shape
    assert np.isfinite(scaled).all()
    assert (scaled >= (-1 if sign == "all" else 0)).all()
    assert (scaled <= 1).all()
    if sign == "all":
        assert (scaled[values == 0] == 0).all()


def test_a_percentile_takes_the_power_from_an_outlier():
    values = np.linspace(0, 1, 100).reshape(10, 10)
    values[9, 9] = 1000
    assert rescale(values)[9, 8] < 0.01
    scaled = rescale(values, percentile=90)
    assert scaled[9, 9] == scaled[9, 8] == 1
    assert scaled[4, 5] == pytest.approx(0.5, abs=0.02)


def test_an_outlier_may_be_larger_than_any_quotient():
    values = np.array([[1e30, 1e-30], [1e-30, -1e-30]], np.float32)
    scaled = rescale(values, "all", percentile=50)
    assert scaled.tolist() == [[1, 1], [1, -1]]


def test_a_sparse_map_survives_a_percentile():
    values = np.zeros((10, 10))
    values[3, 3] = 5
    assert rescale(values, percentile=90)[3, 3] == 1


def test_unknown_pixels_stay_unknown():
    scaled = rescale([[np.nan, 2.0], [-1.0, 0.0]], "all")
    np.testing.assert_allclose(scaled, [[np.nan, 1], [-0.5, 0]])
    assert np.isnan(rescale(np.full((2, 2), np.nan))).all()


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match="sign must be one of"):
        rescale([[1.0]], sign="pos")
    for percentile in (0, 101, -3):
        with pytest.raises(InputError, match=f"percentile must be above 0.*got {percentile}"):
            rescale([[1.0]], percentile=percentile)
    with pytest.raises(ShapeError, match=r"got the shape \(1,\)"):
        rescale([1.0])
    with pytest.raises(InputError, match="infinite"):
        rescale([[np.inf]])


def test_image_normalization_is_batchwise_and_safe_for_bytes():
    batch = np.array([[[[0, 1], [2, 4]]], [[[10, 10], [10, 10]]]], np.uint8)
    stretched = image_normalization(batch)
    np.testing.assert_allclose(stretched[0, 0], [[0, 63.75], [127.5, 255]], rtol=1e-6)
    assert (stretched[1] == 0).all()
    assert image_normalization(torch.tensor([1.0, 3.0]), ubound=1).tolist() == pytest.approx([0, 1])
    assert image_normalization(np.zeros((0, 3, 2, 2))).shape == (0, 3, 2, 2)


def test_deprocess_image_by_its_formula():
    x = np.random.default_rng(0).normal(3, 7, (2, 3, 5, 5))
    for one, seen in zip(x, deprocess_image(x), strict=True):
        y = np.clip((one - one.mean()) / (one.std() + 1e-5) * 0.1 + 0.5, 0, 1) * 255
        np.testing.assert_array_equal(seen, y.astype(np.uint8))
    assert (deprocess_image(np.full((4, 4, 3), 9.0)) == 127).all()
    with pytest.raises(InputError, match="NaN"):
        deprocess_image([[np.nan]])


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("sign", SIGNS)
def test_a_scale_is_never_judged_by_its_size(sign, scale):
    values = np.array([[1.0, -2.0], [0.5, 0.0]]) * scale
    np.testing.assert_allclose(rescale(values, sign), rescale(values / scale, sign), rtol=1e-12)
    np.testing.assert_allclose(
        rescale(values.astype(np.float32), sign), rescale(values / scale, sign), rtol=1e-6
    )


@pytest.mark.parametrize("level", [1e-3, 1.0, 1e6, 1e20])
def test_an_image_that_is_level_up_to_rounding_is_not_stretched(level):
    for dtype in (np.float32, np.float64):
        image = np.full((2, 1, 2, 2), level, dtype)
        image[0, 0, 0, 0] = np.nextafter(image[0, 0, 0, 0], dtype(np.inf))
        for epsilon in (0.0, 1e-7):
            assert not image_normalization(image, epsilon=epsilon).any()
        assert (deprocess_image(image) == 127).all()
    # In single precision the same values are level; as doubles they are not.
    assert image_normalization(image.astype(np.float64) * [1, 1 + 1e-6], epsilon=0).max() == 255


def test_half_precision_is_level_in_its_own_type():
    image = torch.tensor([[1000.0, 1004.0]], dtype=torch.bfloat16)
    assert not image_normalization(image).any()
    assert image_normalization(image.float()).any()


@pytest.mark.parametrize("scale", [1e-30, 1e30, 3e38])
def test_a_picture_of_any_scale_is_stretched(scale):
    image = np.array([[-1.0, 0.0], [0.5, 1.0]], np.float32) * np.float32(scale)
    stretched = image_normalization(image, epsilon=0)
    np.testing.assert_allclose(stretched, [[0, 127.5], [191.25, 255]], rtol=1e-6)


def test_numbers_of_wrong_types_are_named():
    with pytest.raises(InputTypeError, match="percentile must be a number, got str 'a'"):
        rescale(np.ones((2, 2)), percentile="a")
    with pytest.raises(InputTypeError, match="ubound must be a number"):
        image_normalization(np.ones((2, 2)), ubound="a")
    with pytest.raises(InputError, match="epsilon must be at least 0"):
        image_normalization(np.ones((2, 2)), epsilon=-1)

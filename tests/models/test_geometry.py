import numpy as np
import pytest
import torch

from torchattr.errors import InputError, ShapeError
from torchattr.models import Box, place


def test_whole_picture_of_the_same_size_is_the_map_itself():
    values = np.random.default_rng(0).normal(size=(2, 3, 5, 7))
    np.testing.assert_allclose(place(values, Box(0, 0, 7, 5), (5, 7)), values, atol=1e-12)


def test_outside_the_box_nothing_is_known():
    placed = place(np.ones((2, 2)), Box(1, 2, 4, 5), (6, 5))
    expected = np.full((6, 5), np.nan)
    expected[2:5, 1:4] = 1
    np.testing.assert_array_equal(placed, expected)


def test_a_box_beyond_the_picture_shows_the_part_inside():
    values = np.arange(4.0).reshape(1, 4).repeat(4, 0)
    placed = place(values, Box(-1, -1, 3, 3), (3, 3))
    np.testing.assert_allclose(placed, [[1.0, 2.0, 3.0]] * 3)


def test_enlarging_agrees_with_torch():
    values = torch.randn(1, 2, 7, 7, generator=torch.Generator().manual_seed(0)).double()
    ours = place(values, Box(0, 0, 30, 20), (20, 30))
    theirs = torch.nn.functional.interpolate(values, (20, 30), mode="bilinear")
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-12)


def test_shrinking_agrees_with_the_antialiased_filter_of_torch():
    values = torch.randn(1, 1, 32, 48, generator=torch.Generator().manual_seed(0)).double()
    ours = place(values, Box(0, 0, 12, 8), (8, 12))
    theirs = torch.nn.functional.interpolate(values, (8, 12), mode="bilinear", antialias=True)
    np.testing.assert_allclose(ours[..., 1:-1, 1:-1], theirs.numpy()[..., 1:-1, 1:-1], atol=1e-12)


def test_dtypes_and_tensors():
    assert place(torch.ones(2, 2, dtype=torch.bfloat16), Box(0, 0, 2, 2), (2, 2)).dtype == "float32"
    assert place(np.ones((2, 2), np.int64), Box(0, 0, 2, 2), (2, 2), fill=0).dtype == "float32"
    assert place(torch.ones(2, 2).double(), Box(0, 0, 2, 2), (2, 2)).dtype == "float64"


@pytest.mark.parametrize("shape", [(3,), (0, 4), (2, 4, 0)])
def test_wrong_shapes_are_named(shape):
    with pytest.raises(ShapeError, match=r"values must have the shape"):
        place(np.zeros(shape), Box(0, 0, 1, 1), (1, 1))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_must_be_finite(bad):
    with pytest.raises(InputError, match="finite"):
        place(np.array([[0.0, bad]]), Box(0, 0, 1, 1), (1, 1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_neighbours_that_cancel_up_to_rounding_are_zero(dtype, scale):
    stripes = torch.tensor([0.1, 0.2, -0.3], dtype=torch.float64).repeat(60, 20) * scale
    # Three cells a pixel, with the weights of the wider kernel.
    placed = place(stripes.to(dtype), Box(0, 0, 20, 20), (20, 20))
    assert not placed[:, 1:-1].any()
    lone = torch.zeros(60, 60, dtype=dtype)
    lone[30, 30] = scale
    assert np.abs(place(lone, Box(0, 0, 20, 20), (20, 20))).max() > scale / 21

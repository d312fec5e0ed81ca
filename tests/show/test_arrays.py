import numpy as np
import pytest
import torch
from PIL import Image

from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.show.arrays import as_array, as_floats, as_map, as_picture


def test_tensors_pictures_and_lists_become_arrays():
    assert as_array(torch.ones(2, requires_grad=True, dtype=torch.bfloat16)).dtype == "float32"
    assert as_array(Image.new("RGB", (3, 2))).shape == (2, 3, 3)
    assert as_floats([[1, 2]]).dtype == "float32"
    assert as_floats(np.ones(2)).dtype == "float64"
    assert as_floats(torch.ones(2, dtype=torch.float16)).dtype == "float32"


@pytest.mark.parametrize("values", ["abc", np.array([1j]), object()])
def test_what_holds_no_numbers_is_refused(values):
    with pytest.raises(InputTypeError, match="alpha must hold real numbers"):
        as_array(values, "alpha")


def test_infinite_values_are_refused_and_nan_is_kept():
    with pytest.raises(InputError, match="infinite"):
        as_floats([1.0, np.inf])
    assert np.isnan(as_floats([np.nan])).all()


@pytest.mark.parametrize(
    "image",
    [
        np.full((4, 5), 51, np.uint8),
        np.full((4, 5, 1), 0.2),
        np.full((3, 4, 5), 0.2, np.float32),
        np.full((1, 3, 4, 5), 51),
        torch.full((4, 5, 3), 51, dtype=torch.uint8),
        torch.full((1, 4, 5), 0.2, dtype=torch.float16),
        Image.new("L", (5, 4), 51),
        Image.new("RGB", (5, 4), (51, 51, 51)),
    ],
)
def test_pictures_of_every_form(image):
    picture = as_picture(image)
    assert (picture.dtype, picture.shape) == ("uint8", (4, 5, 3))
    assert (picture == 51).all()


def test_a_narrow_picture_is_read_by_its_kind():
    values = np.zeros((3, 9, 3), np.uint8)
    values[0] = 255
    np.testing.assert_array_equal(as_picture(values), values)
    np.testing.assert_array_equal(as_picture(torch.from_numpy(values)), np.moveaxis(values, 0, -1))


def test_masks_are_black_and_white():
    assert set(np.unique(as_picture(np.eye(2, dtype=bool)))) == {0, 255}


@pytest.mark.parametrize("values", [[[-0.1, 0.5]], [[0.0, 1.1]], [[np.nan, 0.0]]])
def test_normalised_values_are_no_picture(values):
    with pytest.raises(InputError, match=r"photo must lie in 0\.\.1.*rescale"):
        as_picture(np.array(values), "photo")


def test_integers_out_of_range_are_no_picture():
    with pytest.raises(InputError, match=r"0\.\.255 for int64, got 0 to 256"):
        as_picture(np.array([[0, 256]]))


@pytest.mark.parametrize("shape", [(4,), (2, 4, 5), (4, 5, 7), (2, 3, 4, 5), (0, 4)])
def test_other_shapes_are_no_picture(shape):
    with pytest.raises(ShapeError, match="photo must be a picture"):
        as_picture(np.zeros(shape), "photo")


def test_one_map():
    assert as_map(np.zeros((1, 1, 4, 5))).shape == (4, 5)
    with pytest.raises(ShapeError, match=r"one map \(H, W\), got the shape \(2, 4, 5\)"):
        as_map(np.zeros((2, 4, 5)))


def test_rows_of_several_lengths_are_named():
    with pytest.raises(InputTypeError, match="maps must hold real numbers in rows of one length"):
        as_floats([[1.0], [2.0, 3.0]], "maps")

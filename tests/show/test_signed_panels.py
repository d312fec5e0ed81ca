import numpy as np
import pytest
import torch

from torchattr.errors import InputError, ShapeError
from torchattr.show import signed_panels

RAW = np.zeros((3, 2, 2))
RAW[0] = [[4.0, -2.0], [0.0, 0.0]]
RAW[1] = [[0.0, 0.0], [-1.0, 0.0]]


def panels(picture, height=2, width=2, padding=4):
    """Cut the panels out of a picture without captions."""
    return [
        picture[padding : padding + height, left : left + width]
        for left in range(padding, picture.shape[1] - padding, width + padding)
    ]


def test_three_panels_by_hand():
    every, positive, negative = panels(signed_panels(RAW, captions=False))
    assert every[0, 0].tolist() == [255, 128, 128]
    assert every[0, 1].tolist() == [64, 128, 128]
    assert every[1, 1].tolist() == [128, 128, 128]
    assert positive[0, 0].tolist() == [255, 0, 0]
    assert positive[0, 1].tolist() == [0, 0, 0]
    assert negative[0, 1].tolist() == [255, 0, 0]
    assert negative[1, 0].tolist() == [0, 128, 0]


def test_gray_is_made_before_the_scale():
    # The luma of red and green of opposite sign cancels; after rescaling it could not.
    values = np.zeros((3, 1, 2))
    values[:, 0, 0] = [0.587, -0.299, 0.0]
    values[:, 0, 1] = [1.0, 1.0, 1.0]
    every, positive, negative = panels(signed_panels(values, gray=True, captions=False), height=1)
    assert every[0].tolist() == [[128] * 3, [255] * 3]
    assert positive[0].tolist() == [[0] * 3, [255] * 3]
    assert negative[0].tolist() == [[0] * 3, [0] * 3]


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_gray_that_cancels_is_zero_and_not_the_brightest(kind, scale):
    values = np.zeros((3, 2, 2))
    values[:2] = np.array([0.587, -0.299])[:, None, None] * scale
    values = torch.tensor(values).to(kind) if kind is torch.bfloat16 else values.astype(kind)
    drawn = panels(signed_panels(values, gray=True, captions=False))
    assert [np.unique(one).tolist() for one in drawn] == [[128], [0], [0]]


def test_a_batch_has_a_row_for_each_picture_with_its_own_scale():
    batch = torch.from_numpy(np.stack([RAW, RAW * 100]))
    picture = signed_panels(batch, captions=False)
    np.testing.assert_array_equal(picture[:8], signed_panels(RAW, captions=False)[:8])
    np.testing.assert_array_equal(picture[4:6], picture[10:12])


def test_captions_stand_below():
    plain, told = (signed_panels(RAW.repeat(40, 2), captions=c) for c in (False, True))
    assert told.shape[0] > plain.shape[0]
    assert told.shape[1] == plain.shape[1]


def test_nothing_to_show_is_no_nan():
    every, positive, negative = panels(signed_panels(np.zeros((1, 2, 2)), captions=False))
    assert (every == 128).all()
    assert not positive.any()
    assert not negative.any()


@pytest.mark.parametrize("shape", [(4, 4), (2, 4, 4), (1, 2, 4, 4), (0, 3, 4, 4)])
def test_wrong_shapes_are_named(shape):
    with pytest.raises(ShapeError, match="values must be"):
        signed_panels(np.zeros(shape))


def test_nan_is_refused():
    with pytest.raises(InputError):
        signed_panels(np.full((3, 2, 2), np.nan))

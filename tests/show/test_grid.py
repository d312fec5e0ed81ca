import numpy as np
import pytest
import torch

from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.show import convert_into_grid, grid


def test_convert_into_grid_by_hand():
    Xs = np.stack([np.full((2, 3, 1), 7.0), np.arange(6.0).reshape(2, 3, 1)] * 2)[:3]
    tiled = convert_into_grid(Xs, padding=1, ubound=10)[..., 0]
    assert tiled.shape == (5, 7)
    np.testing.assert_allclose(tiled[:2, 4:], [[0, 2, 4], [6, 8, 10]], rtol=1e-6)
    assert (tiled[2] == 0).all()
    assert (tiled[:, 3] == 0).all()
    assert (tiled[3:, 4:] == 0).all()


def test_both_layouts_agree():
    images = np.random.default_rng(0).random((5, 4, 6, 3))
    first = np.moveaxis(images, -1, 1)
    np.testing.assert_array_equal(convert_into_grid(images), convert_into_grid(first))
    np.testing.assert_array_equal(convert_into_grid(images), convert_into_grid(torch.tensor(first)))
    np.testing.assert_array_equal(grid(images), grid(first))
    np.testing.assert_array_equal(grid(images), grid(list(images)))


def test_an_ambiguous_shape_follows_the_kind_or_the_layout():
    images = np.random.default_rng(0).random((2, 3, 8, 3))
    assert convert_into_grid(images, padding=0).shape == (3, 16, 3)
    assert convert_into_grid(torch.tensor(images), padding=0).shape == (8, 6, 3)
    assert convert_into_grid(images, padding=0, layout="NCHW").shape == (8, 6, 3)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (18, 32)),
        ({"rows": 1}, (10, 52)),
        ({"columns": 2}, (26, 22)),
        ({"rows": 2, "columns": 4}, (18, 42)),
    ],
)
def test_rows_and_columns(options, shape):
    assert grid(np.zeros((5, 6, 8)), padding=2, **options).shape == (*shape, 3)


def test_every_picture_is_drawn_in_reading_order():
    images = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones((6, 2, 2), np.uint8)
    drawn = grid(images, columns=3, padding=1, fill=(9, 8, 7))
    assert drawn[1::3, 1::3, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert drawn[0, 0].tolist() == [9, 8, 7]


def test_pictures_of_different_size_are_centred():
    drawn = grid([np.zeros((2, 2), np.uint8), np.zeros((4, 6), np.uint8)], padding=0)
    assert drawn.shape == (4, 12, 3)
    assert np.argwhere(drawn[:, :6, 0] == 0).min(0).tolist() == [1, 2]
    assert (drawn[:, 6:] == 0).all()


def test_captions_are_drawn_below_in_full():
    plain = grid(np.zeros((2, 40, 60)), padding=2)
    short = grid(np.zeros((2, 40, 60)), padding=2, captions=["cat", "dog"])
    long = grid(np.zeros((2, 40, 60)), padding=2, captions=["cat", "a caption of many words"])
    assert plain.shape[0] < short.shape[0] < long.shape[0]
    np.testing.assert_array_equal(short[:42], plain[:42])
    assert (short[42:-2, 2:62] < 255).any()


def test_nothing_is_left_out_silently():
    with pytest.raises(ShapeError, match=r"5 images do not fit into rows=2 × columns=2"):
        grid(np.zeros((5, 4, 4)), rows=2, columns=2)
    with pytest.raises(ShapeError, match="captions has 1 entries for 2 images"):
        grid(np.zeros((2, 4, 4)), captions=["a"])


@pytest.mark.parametrize("function", [grid, convert_into_grid])
def test_wrong_shapes_are_named(function):
    with pytest.raises(ShapeError, match=r"1, 3 or 4 channels.*\(2, 64, 7, 7\)"):
        function(np.zeros((2, 64, 7, 7)))
    with pytest.raises(ShapeError, match=r"no (image|picture)"):
        function(np.zeros((0, 3, 4, 4)))
    with pytest.raises(ShapeError, match=r"four axes.*\(4, 4\)"):
        function(np.zeros((4, 4)))
    with pytest.raises(InputError, match="layout must be"):
        function(np.zeros((1, 3, 4, 4)), layout="CHW")


def test_wrong_arguments_are_named():
    with pytest.raises(InputError, match="bring it there with rescale"):
        grid(np.full((1, 2, 2), 7.0))
    with pytest.raises(ShapeError, match="columns must be at least 1, got 0"):
        grid(np.zeros((1, 2, 2)), columns=0)
    with pytest.raises(InputError, match="padding must be"):
        grid(np.zeros((1, 2, 2)), padding=-1)
    with pytest.raises(ShapeError, match=r"images\[1\] must be a picture"):
        grid([np.zeros((2, 2)), np.zeros(3)])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"fill": 0.5}, InputError, "fill must be a grey level, or red.*got 0.5"),
        ({"fill": 300}, InputError, "fill must be .*got 300"),
        ({"fill": (1, 2)}, InputError, "fill must be"),
        ({"fill": "white"}, InputError, "fill must be .*'white'"),
        ({"padding": True}, InputError, "padding must be"),
        ({"rows": "2"}, InputTypeError, "rows must be an int, got str '2'"),
        ({"columns": 1.5}, InputTypeError, "columns must be an int"),
        ({"captions": "abc"}, InputTypeError, "captions must be a sequence of texts, got 'abc'"),
        ({"captions": 3}, InputTypeError, "captions must be a sequence of texts"),
        ({"images": 3}, InputTypeError, "images must be an array"),
        ({"images": None}, InputTypeError, "images must be an array"),
        ({"images": [[[1.0], [2.0, 3.0]]]}, InputTypeError, "rows of one length"),
        ({"layout": []}, InputError, "layout must be one of"),
    ],
)
def test_arguments_of_wrong_types_are_named(change, error, message):
    with pytest.raises(error, match=message):
        grid(**{"images": np.zeros((3, 4, 4, 3)), **change})


def test_colours_of_numpy_are_taken():
    expected = grid(np.zeros((1, 2, 2)), fill=(9, 8, 7))
    assert np.array_equal(grid(np.zeros((1, 2, 2)), fill=np.array([9, 8, 7])), expected)
    assert np.array_equal(grid(np.zeros((1, 2, 2)), fill=(np.int64(9), 8, 7)), expected)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"padding": -1}, InputError),
        ({"padding": "a"}, InputError),
        ({"ubound": "a"}, InputTypeError),
    ],
)
def test_wrong_numbers_of_a_converted_grid_are_named(change, error):
    with pytest.raises(error, match=next(iter(change))):
        convert_into_grid(np.zeros((3, 4, 4, 1)), **change)

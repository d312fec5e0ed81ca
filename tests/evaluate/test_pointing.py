from typing import Any

import numpy as np
import pytest
import torch
from helpers import refused
from hypothesis import given
from hypothesis import strategies as st

from torchattr.errors import InputError, InputTypeError, ShapeError, UndefinedMetricWarning
from torchattr.evaluate import pointing_game, points_at


def peak(row, column, shape=(4, 6), value=1.0):
    values = np.zeros(shape)
    values[row, column] = value
    return values


@pytest.mark.parametrize(
    ("box", "hit"),
    [
        ((2, 1, 3, 2), True),
        ((2, 1, 6, 4), True),
        ((3, 1, 6, 4), False),
        ((0, 0, 2, 4), False),
        ((0, 0, 6, 1), False),
        ((0, 2, 6, 4), False),
    ],
)
def test_the_maximum_lies_in_the_box_or_not(box, hit):
    assert points_at(peak(1, 2), box) is hit


def test_one_of_several_boxes_is_enough():
    assert points_at(peak(1, 2), [(0, 0, 1, 1), (2, 1, 3, 2)])
    assert not points_at(peak(1, 2), [(0, 0, 1, 1), (4, 3, 5, 4)])


def test_a_small_map_points_at_pixels_of_its_picture():
    values = peak(1, 2, (2, 4))  # the centre of the cell is (x, y) = (62.5, 75) of 100 × 100
    assert points_at(values, (62, 75, 63, 76), size=(100, 100))
    assert not points_at(values, (63, 75, 90, 90), size=(100, 100))


def test_a_tolerance_reaches_outside():
    assert not points_at(peak(1, 2), (4, 1, 6, 2))
    assert points_at(peak(1, 2), (4, 1, 6, 2), tolerance=1.5)
    assert not points_at(peak(1, 2), (4, 1, 6, 2), tolerance=1.4)


def test_a_tolerance_is_a_distance_also_past_a_corner():
    assert points_at(peak(0, 0), (4, 3, 6, 4), tolerance=(3.5**2 + 2.5**2) ** 0.5)
    assert not points_at(peak(0, 0), (4, 3, 6, 4), tolerance=4.2)


def nearest(mask, row, column):
    """The distance of a pixel's centre from that of the nearest pixel of a mask."""
    return min(
        ((y - row) ** 2 + (x - column) ** 2) ** 0.5
        for y in range(mask.shape[0])
        for x in range(mask.shape[1])
        if mask[y, x]
    )


@given(
    st.lists(st.booleans(), min_size=24, max_size=24).filter(lambda m: 0 < sum(m) < 24),
    st.integers(0, 3),
    st.integers(0, 5),
    st.floats(0, 4),
)
def test_masks_of_pixels_against_a_loop(pixels, row, column, tolerance):
    mask = np.array(pixels).reshape(4, 6)
    before = mask.copy()
    hit = nearest(mask, row, column) <= tolerance
    assert points_at(peak(row, column), mask, tolerance=tolerance) is hit
    assert points_at(torch.from_numpy(peak(row, column)), torch.from_numpy(mask)) is bool(
        mask[row, column]
    )
    assert np.array_equal(mask, before)


def test_a_small_map_points_at_pixels_of_a_larger_mask():
    mask = np.zeros((100, 100), bool)
    mask[75, 62] = True  # the centre of the cell (1, 2) of 2 × 4 is (x, y) = (62.5, 75)
    assert points_at(peak(1, 2, (2, 4)), mask)
    assert not points_at(peak(1, 1, (2, 4)), mask)
    assert points_at(peak(1, 1, (2, 4)), mask, tolerance=25.01)
    found = pointing_game([peak(1, 2, (2, 4)), peak(0, 0)], [mask, (0, 0, 1, 1)], ["a", "b"])
    assert found.by_class == {"a": 1.0, "b": 1.0}


def test_a_mask_of_everything_or_nothing_tells_nothing():
    for mask, word in ((np.zeros((4, 6), bool), "empty"), (np.ones((4, 6), bool), "full")):
        with pytest.raises(InputError, match=f"the mask is {word}.*leave that example out"):
            points_at(peak(0, 0), mask)
    with pytest.raises(ShapeError, match="a mask must be"):
        points_at(peak(0, 0), np.zeros((2, 4, 6), bool))
    with pytest.raises(InputError, match="a mask must hold bools, or the numbers 0 and 1"):
        points_at(peak(0, 0), np.full((4, 6), 0.5))


def test_all_places_that_share_the_maximum_count():
    two = peak(1, 2) + peak(1, 4)
    assert points_at(two, (2, 1, 5, 2))
    assert not points_at(two, (2, 1, 3, 2))


@pytest.mark.parametrize("value", [0.0, 0.1, -3.0])
def test_a_constant_map_neither_hits_nor_misses(value):
    flat, everything = np.full((4, 6), value), (0, 0, 6, 4)
    with pytest.warns(UndefinedMetricWarning, match="points_at is undefined"):
        assert points_at(flat, everything) is None
    maps, boxes = [flat, peak(0, 0), peak(0, 0), flat], [everything, (0, 0, 1, 1), (3, 3, 4, 4)]
    with pytest.warns(UndefinedMetricWarning, match="2 of 4 maps: 0, 3") as heard:
        found = pointing_game(maps, [*boxes, everything], ["a", "a", "a", "b"])
    assert len(heard) == 1
    assert (found.hits, found.counts) == ({"a": 1, "b": 0}, {"a": 2, "b": 0})
    assert found.by_class["a"] == found.accuracy == 0.5
    assert np.isnan(found.by_class["b"])
    with pytest.warns(UndefinedMetricWarning):
        assert np.isnan(pointing_game([flat], [everything]).accuracy)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.float32, bool])
def test_masks_are_bools_or_the_numbers_0_and_1(kind):
    mask = np.zeros((4, 6), kind)
    mask[1, 2] = 1
    for place in (mask, mask[None], torch.from_numpy(mask), torch.from_numpy(mask)[None]):
        assert points_at(peak(1, 2), place) is True
        assert points_at(peak(1, 3), place) is False
    assert pointing_game([peak(1, 2)], torch.from_numpy(mask)[None, None]).accuracy == 1


def test_four_columns_of_numbers_are_boxes():
    boxes = np.array([[0, 0, 1, 1], [2, 1, 3, 2]])
    assert points_at(peak(1, 2), boxes)
    assert points_at(peak(1, 2), torch.from_numpy(boxes))
    assert points_at(peak(1, 2, (4, 4)), np.arange(16).reshape(4, 4) == 6)


def test_negative_maps_have_a_maximum_too():
    assert points_at(-1 - peak(0, 0), (0, 0, 6, 4))
    assert points_at(peak(1, 2) - 5, (2, 1, 3, 2))


def test_classes_count_the_same_however_often_they_occur():
    maps = torch.from_numpy(np.stack([peak(0, 0)] * 5))
    hit, miss = (0, 0, 1, 1), (3, 3, 4, 4)
    found = pointing_game(maps, [hit, hit, hit, miss, miss], ["a", "a", "a", "a", "b"])
    assert found.by_class == {"a": 0.75, "b": 0.0}
    assert found.accuracy == 0.375
    assert repr(found) == "Pointing(37.5% of 5 maps of 2 classes)"
    assert pointing_game(maps, [hit, hit, hit, miss, miss]).accuracy == 0.6


@given(st.integers(0, 3), st.integers(0, 5), st.integers(1, 9))
def test_moving_box_and_maximum_together_changes_nothing(row, column, scale):
    box = (column * scale, row * scale, (column + 1) * scale, (row + 1) * scale)
    assert points_at(peak(row, column), box, size=(4 * scale, 6 * scale))
    mirrored = (6 * scale - box[2], box[1], 6 * scale - box[0], box[3])
    assert points_at(peak(row, column)[:, ::-1], mirrored, size=(4 * scale, 6 * scale))


@pytest.mark.parametrize(
    ("error", "said", "call"),
    [
        (ShapeError, "one box and one label", lambda: pointing_game([], [])),
        (ShapeError, "1 maps, 2 boxes", lambda: pointing_game([peak(0, 0)], [(0, 0, 1, 1)] * 2)),
        (ShapeError, "left, top, right, bottom", lambda: points_at(peak(0, 0), (0, 0, 1))),
        (ShapeError, "left < right", lambda: points_at(peak(0, 0), (2, 0, 1, 1))),
        (ShapeError, "one map", lambda: points_at(np.zeros((3, 4, 6)), (0, 0, 1, 1))),
        (InputError, "NaN", lambda: points_at(peak(0, 0) * np.nan, (0, 0, 1, 1))),
        (InputError, "tolerance", lambda: points_at(peak(0, 0), (0, 0, 1, 1), tolerance=-1)),
        (InputError, "tolerance", lambda: points_at(peak(0, 0), (0, 0, 1, 1), tolerance=np.nan)),
        (InputError, "box holds NaN", lambda: points_at(peak(0, 0), (0, np.nan, 1, 1))),
        (InputError, "box holds NaN", lambda: points_at(peak(0, 0), [(0, 0, 1, 1), (np.nan,) * 4])),
        (InputError, "box holds NaN or inf", lambda: points_at(peak(0, 0), (0, 0, np.inf, 1))),
        (InputTypeError, "a box must be the numbers", lambda: points_at(peak(0, 0), "left")),
        (InputTypeError, "a box must be the", lambda: points_at(peak(0, 0), [(0, 0, 1), 1])),
    ],
)
def test_wrong_arguments_are_named(error, said, call):
    with pytest.raises(error, match=said):
        call()


def test_arguments_of_wrong_types_are_refused() -> None:
    maps, boxes = torch.rand(1, 4, 4), [(0, 0, 2, 2)]
    for name in ("maps", "boxes", "labels"):
        given: dict[str, Any] = {"maps": maps, "boxes": boxes, name: 3}
        with refused(InputTypeError, f"{name} must be a sequence, got int 3"):
            pointing_game(**given)
    with refused(InputTypeError, "tolerance must be a number"):
        pointing_game(maps, boxes, tolerance="a")  # type: ignore[arg-type]
    for size in (4, "ab", (4,), (4.5, 4)):
        with refused(InputTypeError, "size must be"):
            pointing_game(maps, boxes, size=size)  # type: ignore[arg-type]


def test_sizes_labels_and_tolerances_of_other_types() -> None:
    maps, boxes = torch.rand(2, 4, 4), [(0, 0, 4, 4), (4, 4, 8, 8)]
    expected = pointing_game(maps, boxes, ["a", "b"], size=(8, 8), tolerance=1.0)
    for size in (np.array([8, 8]), torch.tensor([8, 8])):
        tolerance = torch.tensor(1.0)
        labels = (name for name in "ab")
        found = pointing_game(maps, boxes, labels, size=size, tolerance=tolerance)  # type: ignore[arg-type]
        assert found == expected

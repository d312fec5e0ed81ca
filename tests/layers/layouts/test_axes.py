"""Dimensions split, merged and joined."""

import pytest
import torch

from torchattr.layers.layouts.axes import (
    BATCH,
    OTHER,
    Axis,
    Digit,
    axis,
    joined,
    others,
    reshaped,
    resized,
    whole,
)

GRID = (axis(BATCH, 2), axis(OTHER, 3), axis("y", 4), axis("x", 6))


@pytest.mark.parametrize(
    "shape", [(2, 3, 24), (2, 72), (6, 4, 6), (2, 3, 2, 2, 2, 3), (1, 2, 3, 24)]
)
def test_reshapes_are_undone(shape: tuple[int, ...]) -> None:
    assert reshaped(reshaped(GRID, shape), (2, 3, 4, 6)) == GRID


def test_a_transposed_grid_does_not_come_back_by_a_reshape() -> None:
    turned = (GRID[0], GRID[1], GRID[3], GRID[2])
    back = reshaped(reshaped(turned, (2, 3, 24)), (2, 3, 4, 6))
    assert back[2:] != GRID[2:]


def test_windows_hold_the_low_digits() -> None:
    split = reshaped((axis("y", 8),), (4, 2))
    assert split == (Axis((Digit("y", 4, 2),)), Axis((Digit("y", 2, 1),)))
    assert reshaped(split, (8,)) == (axis("y", 8),)
    assert reshaped(split[::-1], (8,)) != (axis("y", 8),)


def test_equal_sizes_are_told_apart() -> None:
    square = (axis(BATCH, 4), axis(OTHER, 4), axis("y", 4), axis("x", 4))
    assert [one.labels for one in reshaped(square, (4, 4, 16))] == [
        (BATCH,),
        (OTHER,),
        ("y", "x"),
    ]
    assert [one.labels for one in reshaped(square, (16, 16))] == [(BATCH, OTHER), ("y", "x")]


def test_a_single_example_stays_in_sight() -> None:
    frames = reshaped((axis(BATCH, 1), axis("t", 4), axis("y", 2)), (4, 2))
    assert BATCH in frames[0].labels
    assert frames[0].labels != (BATCH,)


def test_what_does_not_fit_is_unknown() -> None:
    assert reshaped((axis("y", 6), axis("x", 4)), (8, 3)) == others((8, 3))
    assert reshaped((axis("y", 0),), (0, 3)) == others((0, 3))


def test_a_class_token_keeps_its_row_whole() -> None:
    row = Axis((Digit("y", 2), Digit("x", 3)), before=1)
    assert reshaped((axis(BATCH, 2), row), (2, 1, 7))[2] == row
    assert reshaped((axis(BATCH, 2), row), (14,))[0].labels == (OTHER,)


def test_joining_takes_what_is_known() -> None:
    assert joined([GRID, others((2, 3, 4, 6))], (2, 3, 4, 6)) == GRID
    assert joined([GRID, (axis("x", 6),)], (2, 3, 4, 6)) == GRID
    assert joined([(axis("x", 6),), (axis("y", 6),)], (6,)) == others((6,))


def test_a_partly_known_axis_does_not_contradict() -> None:
    partly = Axis((Digit("y", 4, 2), Digit(OTHER, 2)))
    for pair in [(axis("y", 8), partly), (partly, axis("y", 8))]:
        assert joined([(one,) for one in pair], (8,)) == (axis("y", 8),)
    assert joined([(partly,), (axis("x", 8),)], (8,)) == others((8,))
    low = Axis((Digit(OTHER, 4), Digit("y", 2)))
    assert joined([(low,), (axis("y", 8),)], (8,)) == (axis("y", 8),)


def test_pooled_and_whole() -> None:
    assert resized(axis("y", 8), 8) == axis("y", 8)
    assert resized(Axis((Digit("y", 2), Digit("x", 3))), 3).labels == (OTHER,)
    assert whole((Axis((Digit("y", 4, 2),)), axis("x", 2))) == (axis("y", 4), axis("x", 2))
    both = reshaped((axis("y", 8),), (4, 2))
    assert whole(both) == both


def test_random_reshapes_agree_with_the_elements() -> None:
    """A dimension whose axis names one coordinate does run over it."""
    sizes = {"y": 4, "x": 6, "z": 2}
    axes = tuple(axis(label, size) for label, size in sizes.items())
    values = torch.stack(torch.meshgrid(*map(torch.arange, sizes.values()), indexing="ij"))
    for shape in [(4, 12), (24, 2), (2, 2, 6, 2), (2, 12, 2), (8, 6), (4, 3, 4), (2, 24), (48,)]:
        for dim, one in enumerate(reshaped(axes, shape)):
            if len(one.digits) == 1 and one.labels[0] in sizes:
                (digit,) = one.digits
                seen = values[list(sizes).index(digit.label)].reshape(shape)
                steps = seen.movedim(dim, 0).diff(dim=0)
                assert (steps == digit.weight).all()

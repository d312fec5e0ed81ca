"""Boxes of one class in one picture."""

from __future__ import annotations

import pytest

from torchattr.bulk.annotated.annotation import Annotation, as_number, joined
from torchattr.errors import InputError
from torchattr.models import Box

ONE, OTHER = Box(0, 0, 2, 2), Box(4, 4, 6, 6)


def test_boxes_of_a_class_are_joined_and_classes_are_apart() -> None:
    rows = [
        Annotation("b.png", "dog", (ONE,), (9, 9)),
        Annotation("a.png", "cat", (ONE,)),
        Annotation("b.png", "dog", (OTHER,), (9, 9)),
        Annotation("b.png", "cat", (OTHER,), (9, 9)),
    ]
    found = joined(rows, "the table")
    assert [one.name for one in found] == ["a.png (cat)", "b.png (cat)", "b.png (dog)"]
    assert found[2].boxes == (ONE, OTHER)
    assert [one.size for one in found] == [None, (9, 9), (9, 9)]


def test_nothing_and_two_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="the table has no box"):
        joined([], "the table")
    rows = [Annotation("a.png", "cat", (ONE,), (9, side)) for side in (8, 9)]
    with pytest.raises(InputError, match=r"the table has two sizes of a\.png"):
        joined(rows, "the table")


@pytest.mark.parametrize("value", ["left", None, "", float("nan"), "inf", [1]])
def test_what_is_no_number_is_named(value) -> None:
    with pytest.raises(InputError, match="row 3: x0 must be a number, got"):
        as_number(value, "row 3: x0")
    assert as_number("2.5", "") == 2.5

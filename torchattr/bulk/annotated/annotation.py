"""Annotations: where the objects of a class are in a picture."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torchattr.errors import InputError
from torchattr.models import Box


@dataclass(frozen=True, order=True)
class Annotation:
    """The objects of one class in one picture.

    Attributes:
        path: of the picture, as it is written.
        label: the class, as it is written.
        boxes: of the objects, in pixels of the picture.
        size: width and height of the picture that the boxes were drawn on, if they are known.
    """

    path: str
    label: str
    boxes: tuple[Box, ...]
    size: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """What messages and tables call it: a picture may have objects of several classes."""
        return f"{self.path} ({self.label})"


def joined(rows: Iterable[Annotation], what: str) -> list[Annotation]:
    """Return annotations with all boxes of one class in one picture together, sorted.

    Args:
        rows: annotations of single boxes.
        what: the file that they are from, for messages.

    Raises:
        InputError: there are none, or a picture has two sizes.

    >>> boxes = Box(0, 0, 2, 2), Box(4, 4, 6, 6)
    >>> (both,) = joined([Annotation("a.png", "cat", (one,)) for one in boxes], "the table")
    >>> len(both.boxes)
    2
    """
    boxes: dict[tuple[str, str], tuple[Box, ...]] = {}
    sizes: dict[str, tuple[int, int] | None] = {}
    for row in rows:
        key = row.path, row.label
        boxes[key] = (*boxes.get(key, ()), *row.boxes)
        if sizes.setdefault(row.path, row.size) != row.size:
            raise InputError(
                f"{what} has two sizes of {row.path}: {sizes[row.path]} and {row.size}; a picture"
                " has one"
            )
    if not boxes:
        raise InputError(f"{what} has no box; a benchmark needs at least one")
    return sorted(Annotation(path, label, own, sizes[path]) for (path, label), own in boxes.items())


def as_number(value: Any, where: str) -> float:
    """Return a finite number.

    where: the row and column, for the message.

    Raises:
        InputError: it is none.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{where} must be a number, got {value!r}")
    return number

"""The pointing game: whether the maximum of a map is on its object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from torchattr.errors import InputError, ShapeError
from torchattr.show import as_map

Box = Sequence[float]


@dataclass(frozen=True)
class Pointing:
    """How often maps pointed at their objects.

    Attributes:
        hits: number of hits per class.
        counts: number of maps per class.
    """

    hits: Mapping[Any, int]
    counts: Mapping[Any, int]

    @property
    def by_class(self) -> dict[Any, float]:
        """The share of hits of each class, 0 to 1."""
        return {label: self.hits[label] / count for label, count in self.counts.items()}

    @property
    def accuracy(self) -> float:
        """The mean of these shares: every class counts the same, as in the paper."""
        return float(np.mean(list(self.by_class.values())))

    def __repr__(self) -> str:
        total = sum(self.counts.values())
        return f"Pointing({self.accuracy:.1%} of {total} maps of {len(self.counts)} classes)"


def pointing_game(
    maps: Sequence[Any],
    boxes: Sequence[Box | Sequence[Box]],
    labels: Sequence[Any] | None = None,
    *,
    size: tuple[int, int] | None = None,
    tolerance: float = 0.0,
) -> Pointing:
    """Count how many maps have their maximum on their object, class by class.

    `hits / (hits + misses)`, averaged over the classes. Zhang et al. 2016, arXiv:1608.00507, who
    allow a tolerance of 15 pixels.

    It shows whether the strongest position is on the object, and does *not* measure how much of the
    object a map finds, nor whether it is what the model really used. Compare it with what a point
    in the middle of each picture would reach.

    Args:
        maps: one map `(h, w)` for each object, of any resolution.
        boxes: for each map left, top, right and bottom of the object, right and bottom exclusive;
            or several such boxes, where any of them is right.
        labels: the class of each; `None` counts all as one class.
        size: height and width of the picture that the boxes refer to; `None` means those of the
            map.
        tolerance: maximum distance from the box, in pixels, that still counts as a hit.

    Raises:
        ShapeError: maps, boxes and labels of different numbers, no map, or a wrong shape.
        InputError: a map with NaN or infinite values, or a negative tolerance.

    >>> import torch
    >>> maps = torch.zeros(2, 4, 4)
    >>> maps[:, 1, 1] = 1.0
    >>> pointing_game(maps, [(0, 0, 2, 2), (2, 2, 4, 4)], ["cat", "dog"]).by_class
    {'cat': 1.0, 'dog': 0.0}
    """
    named = ["all"] * len(maps) if labels is None else list(labels)
    if not len(maps) or not len(maps) == len(boxes) == len(named):
        raise ShapeError(
            "there must be one box and one label for each of at least one map, got"
            f" {len(maps)} maps, {len(boxes)} boxes and {len(named)} labels"
        )
    hits = dict.fromkeys(named, 0)
    counts = dict.fromkeys(named, 0)
    for values, box, label in zip(maps, boxes, named, strict=True):
        hits[label] += points_at(values, box, size=size, tolerance=tolerance)
        counts[label] += 1
    return Pointing(hits, counts)


def points_at(
    values: Any,
    box: Box | Sequence[Box],
    *,
    size: tuple[int, int] | None = None,
    tolerance: float = 0.0,
) -> bool:
    """Whether the maximum of one map is in a box, or in any of several.

    The arguments are those of :func:`pointing_game`. If several positions share the maximum, all
    of them must lie in the boxes, so a constant map points at nothing.

    >>> points_at([[0.0, 0.0], [0.0, 1.0]], (60, 60, 90, 90), size=(100, 100))
    True
    """
    if tolerance < 0:
        raise InputError(f"tolerance must not be negative, got {tolerance}")
    array = as_map(values)
    if np.isnan(array).any():
        raise InputError("values holds NaN, so it has no maximum")
    height, width = size or array.shape
    rows, columns = np.nonzero(array == array.max())
    x = (columns + 0.5) * (width / array.shape[1])
    y = (rows + 0.5) * (height / array.shape[0])
    inside = np.zeros(len(x), bool)
    for left, top, right, bottom in _as_boxes(box):
        inside |= _between(left, x, right, tolerance) & _between(top, y, bottom, tolerance)
    return bool(inside.all())


def _between(low: float, values: np.ndarray, high: float, tolerance: float) -> np.ndarray:
    return (low - tolerance <= values) & (values < high + tolerance)


def _as_boxes(box: Any) -> np.ndarray:
    boxes = np.atleast_2d(np.asarray(box, float))
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes):
        raise ShapeError(f"a box must be (left, top, right, bottom), or several, got {box!r}")
    if (boxes[:, :2] >= boxes[:, 2:]).any():
        raise ShapeError(f"a box must have left < right and top < bottom, got {box!r}")
    return boxes

"""The pointing game: whether the maximum of a map is on its object."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchattr.core.arguments import is_iterable
from torchattr.core.checked_numbers import as_number, checked_pair, described
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.evaluate.measured_maps import undefined
from torchattr.evaluate.ranks import has_order
from torchattr.show import as_map

Box = Sequence[float]
Object = Box | Sequence[Box] | Tensor | NDArray[Any]
"""Where an object is: a box, several of them, or a mask of its pixels."""


@dataclass(frozen=True)
class Pointing:
    """How often maps pointed at their objects.

    Attributes:
        hits: number of hits per class.
        counts: number of maps per class that hit or miss; constant maps do neither.
    """

    hits: Mapping[Any, int]
    counts: Mapping[Any, int]

    @property
    def by_class(self) -> dict[Any, float]:
        """The share of hits of each class, 0 to 1; NaN for a class without a map that counts."""
        return {
            label: self.hits[label] / count if count else float("nan")
            for label, count in self.counts.items()
        }

    @property
    def accuracy(self) -> float:
        """The mean of these shares: every class counts the same, as in the paper.

        NaN if no map counts.
        """
        shares = [share for label, share in self.by_class.items() if self.counts[label]]
        return float(np.mean(shares)) if shares else float("nan")

    def __repr__(self) -> str:
        total = sum(self.counts.values())
        return f"Pointing({self.accuracy:.1%} of {total} maps of {len(self.counts)} classes)"


def pointing_game(
    maps: Sequence[Any],
    boxes: Sequence[Object],
    labels: Sequence[Any] | None = None,
    *,
    size: tuple[int, int] | None = None,
    tolerance: float = 0.0,
) -> Pointing:
    """Count how many maps have their maximum on their object, class by class.

    `hits / (hits + misses)`, averaged over the classes, 0 to 1; the higher, the better. Zhang et
    al. 2016, arXiv:1608.00507, who allow a tolerance of 15 pixels.

    It shows whether the strongest position is on the object, and does *not* measure how much of the
    object a map finds, nor whether it is what the model really used. Compare it with what a point
    in the middle of each picture would reach. Constant maps, which have no maximum, are left out
    with a warning.

    Quantus 0.6 counts an empty mask as a hit, and a constant map, allows no tolerance, and averages
    over all maps.

    Args:
        maps: one map `(h, w)` for each object, of any resolution.
        boxes: for each map left, top, right and bottom of the object, right and bottom exclusive;
            or several such boxes, where any of them is right; or the mask of its pixels, `(H, W)`
            or `(1, H, W)` with the picture's size, of bools or the numbers 0 and 1. An array of
            numbers with four columns holds boxes: give masks of so narrow pictures as bools.
        labels: the class of each; `None` counts all as one class.
        size: height and width of the picture that the boxes refer to; `None` means those of the
            map.
        tolerance: maximum distance from the box, or from the centre of a pixel of the mask, in
            pixels, that still counts as a hit.

    Raises:
        ShapeError: maps, boxes and labels of different numbers, no map, or a wrong shape.
        InputTypeError: a place that holds no numbers.
        InputError: a map or box with NaN or infinite values, a mask of nothing or everything, or of
            other numbers than 0 and 1, or a negative tolerance.

    Warns `UndefinedMetricWarning` where a map is constant.

    >>> import torch
    >>> maps = torch.zeros(2, 4, 4)
    >>> maps[:, 1, 1] = 1.0
    >>> pointing_game(maps, [(0, 0, 2, 2), (2, 2, 4, 4)], ["cat", "dog"]).by_class
    {'cat': 1.0, 'dog': 0.0}
    """
    labels = list(labels) if isinstance(labels, Iterable) else labels
    for name, several in (("maps", maps), ("boxes", boxes), ("labels", labels)):
        is_row = is_iterable(several) and isinstance(several, Sized)
        if not is_row and not (name == "labels" and several is None):
            raise InputTypeError(f"{name} must be a sequence, got {described(several)}")
    named = ["all"] * len(maps) if labels is None else labels
    if not len(maps) or not len(maps) == len(boxes) == len(named):
        raise ShapeError(
            "there must be one box and one label for each of at least one map, got"
            f" {len(maps)} maps, {len(boxes)} boxes and {len(named)} labels"
        )
    hits = dict.fromkeys(named, 0)
    counts = dict.fromkeys(named, 0)
    values = pointed(maps, boxes, "pointing_game", size=size, tolerance=tolerance)
    for label, value in zip(named, values.tolist(), strict=True):
        hits[label] += value == 1
        counts[label] += value == value
    return Pointing(hits, counts)


def points_at(
    values: Any,
    box: Object,
    *,
    size: tuple[int, int] | None = None,
    tolerance: float = 0.0,
) -> bool | None:
    """Whether the maximum of one map is in a box, in any of several, or in a mask.

    The arguments are those of :func:`pointing_game`. If several positions share the maximum, all
    of them must lie on the object. `None` with a warning for a constant map, which has no maximum.

    >>> points_at([[0.0, 0.0], [0.0, 1.0]], (60, 60, 90, 90), size=(100, 100))
    True
    """
    array = _map_with_maximum(values, "values")
    (found,) = pointed([array], [box], "points_at", size=size, tolerance=tolerance).tolist()
    return None if found != found else found == 1


def pointed(
    maps: Sequence[Any],
    boxes: Sequence[Object],
    metric: str,
    *,
    size: tuple[int, int] | None = None,
    tolerance: float = 0.0,
) -> Tensor:
    """Return 1 for each map that points at its object, 0 for others, `(N,)`.

    NaN with a warning for constant maps. The other arguments are those of :func:`pointing_game`.

    Args:
        maps: the maps.
        boxes: their objects.
        metric: its name, for the warning.
    """
    tolerance = as_number(tolerance, "tolerance")
    if not tolerance >= 0:
        raise InputError(f"tolerance must not be negative, got {tolerance}")
    if size is not None:
        size = checked_pair(size, "size", "the height and width of the picture")
    found, is_defined = [], []
    for number, (values, box) in enumerate(zip(maps, boxes, strict=True)):
        array = _map_with_maximum(values, f"maps[{number}]")
        place = _as_place(box)
        is_varied = bool(has_order(torch.from_numpy(array.ravel())))
        found.append(is_varied and _is_hit(array, place, size, tolerance))
        is_defined.append(is_varied)
    hits, defined = torch.tensor(found).double(), torch.tensor(is_defined)
    return undefined(hits, defined, metric, "the map is constant")


def _is_hit(
    array: NDArray[Any], place: _Place, size: tuple[int, int] | None, tolerance: float
) -> bool:
    height, width = place.size or size or array.shape
    rows, columns = np.nonzero(array == array.max())
    x = (columns + 0.5) * (width / array.shape[1])
    y = (rows + 0.5) * (height / array.shape[0])
    distances = place.distances(x, y)
    near = (distances > 0) & (distances <= tolerance)
    return bool((place.contains(x, y) | near).all())


def _map_with_maximum(values: Any, name: str) -> NDArray[Any]:
    """Return a map `(h, w)`.

    Raises:
        ShapeError: another shape.
        InputError: NaN.
    """
    array = as_map(values, name)
    if np.isnan(array).any():
        raise InputError(f"{name} holds NaN, so it has no maximum")
    return array.astype(np.float64)


class _Place(ABC):
    """Where an object is.

    Attributes:
        size: height and width of the picture, if they are known.
    """

    size: tuple[int, int] | None = None

    @abstractmethod
    def contains(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Whether points are on the object."""

    @abstractmethod
    def distances(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the distances of points from the object."""


class _Boxed(_Place):
    def __init__(self, boxes: np.ndarray) -> None:
        self._left, self._top, self._right, self._bottom = boxes.T[..., None]

    def contains(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        along = (self._left <= x) & (x < self._right)
        return (along & (self._top <= y) & (y < self._bottom)).any(0)

    def distances(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        along = np.maximum(np.maximum(self._left - x, x - self._right), 0)
        down = np.maximum(np.maximum(self._top - y, y - self._bottom), 0)
        return np.hypot(along, down).min(0)


class _Masked(_Place):
    def __init__(self, mask: np.ndarray) -> None:
        self._mask = mask
        self.size = (mask.shape[0], mask.shape[1])

    def contains(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        found: np.ndarray = self._mask[y.astype(int), x.astype(int)]
        return found

    def distances(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        rows, columns = np.nonzero(self._mask)
        # Point by point: a map that is cut off at its maximum may have as many as pixels.
        pairs = zip(x, y, strict=True)
        return np.array(
            [np.hypot(columns + 0.5 - one, rows + 0.5 - other).min() for one, other in pairs]
        )


def _as_place(given: Any) -> _Place:
    array = given.detach().cpu().numpy() if isinstance(given, Tensor) else given
    if not isinstance(array, np.ndarray):
        return _Boxed(_as_boxes(given))
    if array.dtype != bool and (array.ndim < 2 or array.shape[1:] == (4,)):
        return _Boxed(_as_boxes(array))
    mask = array[0] if array.ndim == 3 and len(array) == 1 else array
    if mask.ndim != 2:
        raise ShapeError(f"a mask must be (height, width), got the shape {array.shape}")
    if not np.isin(mask, (0, 1)).all():
        raise InputError(
            "a mask must hold bools, or the numbers 0 and 1, and boxes must have four columns; got"
            f" {array.dtype} of the shape {array.shape}"
        )
    if mask.all() or not mask.any():
        word = "full" if mask.size and mask.all() else "empty"
        raise InputError(
            f"the mask is {word}, so that it cannot tell maps apart; leave that example out"
        )
    return _Masked(mask.astype(bool))


def _as_boxes(box: Any) -> np.ndarray:
    try:
        boxes = np.atleast_2d(np.asarray(box, float))
    except (TypeError, ValueError) as error:
        raise InputTypeError(
            f"a box must be the numbers left, top, right and bottom, or several, got {box!r}"
        ) from error
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes):
        raise ShapeError(f"a box must be (left, top, right, bottom), or several, got {box!r}")
    if not np.isfinite(boxes).all():
        raise InputError(f"a box holds NaN or infinite values, which are no place, got {box!r}")
    if (boxes[:, :2] >= boxes[:, 2:]).any():
        raise ShapeError(f"a box must have left < right and top < bottom, got {box!r}")
    return boxes

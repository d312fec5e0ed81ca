"""Bounding boxes and connected regions of strong values in a map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from torchattr.core.checked_numbers import as_number
from torchattr.errors import InputError
from torchattr.show.arrays import as_map


def box_from_map(values: Any, threshold: float = 0.5) -> tuple[int, int, int, int] | None:
    """Return the box around the largest connected region of a map, for weakly supervised detection.

    The region holds the pixels with at least ``threshold`` times the map's largest value that
    share an edge; among equally large ones the topmost is used. Method: Zhou et al. 2015,
    arXiv:1512.04150, who use a threshold of 0.2. It is *not* a detector: one box, and
    only as tight as the map is sharp.

    values: one map ``(H, W)``; NaN pixels belong to no region.
    threshold: above 0, at most 1.

    Returns (left, top, right, bottom) in pixels, right and bottom exclusive, or None if no value is
    positive.

    >>> box_from_map([[0.0, 0.9, 1.0], [0.7, 0.0, 0.0]])
    (1, 0, 3, 1)
    """
    threshold = as_number(threshold, "threshold")
    if not 0 < threshold <= 1:
        raise InputError(f"threshold must be above 0 and at most 1, got {threshold}")
    array = np.nan_to_num(as_map(values))
    if array.max() <= 0:
        return None
    region = largest_component(array >= threshold * array.max())
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def largest_component(mask: np.ndarray) -> np.ndarray:
    """Return the largest edge-connected region of True pixels, as a mask of the same shape."""
    rows, starts, stops = _runs(mask)
    labels = _join(len(rows), _touching(rows, starts, stops, mask.shape[1] + 1))
    sizes = np.bincount(labels, weights=stops - starts, minlength=1)
    region = np.zeros_like(mask)
    for run in np.flatnonzero(labels == sizes.argmax()):
        region[rows[run], starts[run] : stops[run]] = True
    return region


def _runs(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return row, first column and column after the last of each horizontal run of True pixels."""
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded, axis=1)
    rows, starts = np.nonzero(steps == 1)
    return rows, starts, np.nonzero(steps == -1)[1]


def _touching(
    rows: np.ndarray, starts: np.ndarray, stops: np.ndarray, stride: int
) -> Iterator[tuple[int, int]]:
    """Yield pairs of runs, the first directly above the second."""
    # Runs are ordered by row and column, so those that overlap a run from above are consecutive.
    above = (rows - 1) * stride
    first = np.searchsorted(rows * stride + stops, above + starts, side="right")
    last = np.searchsorted(rows * stride + starts, above + stops, side="left")
    for run in range(len(rows)):
        yield from ((other, run) for other in range(first[run], last[run]))


def _join(count: int, pairs: Iterable[tuple[int, int]]) -> np.ndarray:
    """Return for each run the index of the first run of its region (union-find)."""
    parents = list(range(count))
    for one, other in pairs:
        a, b = _root(parents, one), _root(parents, other)
        parents[max(a, b)] = min(a, b)
    return np.array([_root(parents, run) for run in range(count)], dtype=np.intp)


def _root(parents: list[int], run: int) -> int:
    while parents[run] != run:
        parents[run] = parents[parents[run]]
        run = parents[run]
    return run

"""Imputation as a dense system, as the paper writes its equations."""

from __future__ import annotations

import numpy as np

WEIGHTS = {
    (dy, dx): 1 / 6 if 0 in (dy, dx) else 1 / 12
    for dy in (-1, 0, 1)
    for dx in (-1, 0, 1)
    if (dy, dx) != (0, 0)
}


def by_hand(channel: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """One equation for each removed pixel, as the paper writes them."""
    height, width = channel.shape
    places = [(y, x) for y in range(height) for x in range(width) if removed[y, x]]
    matrix, right = np.eye(len(places)), np.zeros(len(places))
    for row, (y, x) in enumerate(places):
        near = {
            (y + dy, x + dx): weight
            for (dy, dx), weight in WEIGHTS.items()
            if 0 <= y + dy < height and 0 <= x + dx < width
        }
        total = sum(near.values())
        for place, weight in near.items():
            if removed[place]:
                matrix[row, places.index(place)] -= weight / total
            else:
                right[row] += weight / total * channel[place]
    found = channel.copy()
    for place, value in zip(places, np.linalg.solve(matrix, right), strict=True):
        found[place] = value
    return found

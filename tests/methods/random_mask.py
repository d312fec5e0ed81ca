"""A random mask of RISE, drawn and interpolated by hand."""

from __future__ import annotations

from math import ceil, prod

import numpy as np


def mask_by_hand(
    shape: tuple[int, ...], grid: tuple[int, ...], p: float, seed: int, number: int, position: int
) -> np.ndarray:
    """Draw a grid and a shift, and interpolate one dimension after another at pixel centres."""
    drawn = prod(grid) + len(grid)
    bits = np.random.Philox(key=seed + (position << 64), counter=number * ceil(drawn / 4))
    uniform = np.random.Generator(bits).random(drawn)
    mask = (uniform[: prod(grid)] < p).astype(float).reshape(grid)
    for axis, (size, cells) in enumerate(zip(shape, grid, strict=True)):
        cell = ceil(size / cells)
        shift = int(uniform[prod(grid) + axis] * cell)
        centres = (np.arange(shift, shift + size) + 0.5) * cells / ((cells + 1) * cell) - 0.5

        def between(values: np.ndarray, centres: np.ndarray = centres) -> np.ndarray:
            return np.interp(centres, np.arange(len(values)), values)

        mask = np.apply_along_axis(between, axis, mask)
    return mask

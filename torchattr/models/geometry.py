"""Boxes in an image, and placing a map back on the image that its tensor was cut from."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch

from torchattr.core.rounding import settled, share, unit
from torchattr.errors import InputError, ShapeError


class Box(NamedTuple):
    """A rectangle in pixels: left, top, right and bottom edge, the last two exclusive.

    Pixel ``i`` covers the interval from ``i`` to ``i + 1``. A box may be fractional, and may reach
    beyond the image where a transform padded it.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def scaled(self, x: float, y: float) -> Box:
        """Return the rectangle after the image was resized by these factors."""
        return Box(self.x0 * x, self.y0 * y, self.x1 * x, self.y1 * y)


def place(
    values: torch.Tensor | np.ndarray,
    box: Box,
    size: tuple[int, int],
    fill: float = math.nan,
) -> np.ndarray:
    """Place a map on the image that its tensor was cut from.

    Each pixel centre of the image is looked up in the map by linear interpolation, with a wider
    kernel where the map shrinks. Pixels outside ``box`` get ``fill``: NaN by default, because the
    model has not seen them and nothing is known there. Where neighbours of opposite sign cancel up
    to the rounding of their dtype, the pixel is zero. It is *not* an attribution at the image's
    resolution.

    values: ``(..., h, w)``, the map on the tensor's grid.
    box: the rectangle of the image that the tensor shows.
    size: height and width of the image in pixels.

    Returns ``(..., height, width)`` as float32 (float64 stays).
    Raises ``ShapeError`` for fewer than two axes or an empty map, ``InputError`` for values that
    are not finite.

    >>> place(np.ones((2, 2)), Box(1, 0, 3, 2), (2, 4), fill=0.0)
    array([[0., 1., 1., 0.],
           [0., 1., 1., 0.]])
    """
    array = _float_array(values)
    if array.ndim < 2 or 0 in array.shape[-2:]:
        raise ShapeError(
            f"values must have the shape (..., height, width) with at least one pixel, "
            f"got {tuple(array.shape)}"
        )
    if not np.isfinite(array).all():
        raise InputError("values must be finite to be placed on an image, got NaN or infinity")
    doubled = array.astype(np.float64)
    rows, inside_y = _weights(size[0], array.shape[-2], box.y0, box.y1)
    columns, inside_x = _weights(size[1], array.shape[-1], box.x0, box.x1)
    placed, magnitude = (rows @ cells @ columns.T for cells in (doubled, np.abs(doubled)))
    additions = (rows > 0).sum(1).max() + (columns > 0).sum(1).max()
    error = magnitude * share(unit(values), additions, unit(doubled))
    drawn = settled(placed, error).astype(array.dtype)
    return np.where(inside_y[:, None] & inside_x, drawn, array.dtype.type(fill))


def _float_array(values: Any) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().to("cpu")
        values = values.numpy() if values.dtype == torch.float64 else values.float().numpy()
    array = np.asarray(values)
    return array if array.dtype == np.float64 else array.astype(np.float32)


def _weights(n: int, cells: int, start: float, stop: float) -> tuple[np.ndarray, np.ndarray]:
    """Return interpolation weights ``(n, cells)`` along one axis, and which pixels are inside."""
    centres = np.arange(n) + 0.5
    step = (stop - start) / cells
    position = (centres - start) / step - 0.5
    # A pixel wider than a cell averages over all the cells that it covers.
    reach = max(1.0, 1.0 / step)
    nearest = np.clip(position, 0, cells - 1)
    distance = np.abs(nearest[:, None] - np.arange(cells)) / reach
    weights = np.clip(1.0 - distance, 0.0, None)
    return weights / weights.sum(1, keepdims=True), (centres > start) & (centres < stop)

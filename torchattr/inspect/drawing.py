"""What the pictures of this room share."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from torchattr.errors import ShapeError
from torchattr.show import as_floats, image_normalization, reduce_channels, rescale


def draw_signal(values: Any) -> np.ndarray:
    """Draw a signed signal `(C, H, W)` around mid grey, which is zero, as uint8 `(H, W, 3)`.

    One and three channels keep their colours; others are added up to grey.
    """
    array = _picture(values)
    if len(array) not in (1, 3):
        array = reduce_channels(values, "sum")[None]
    scaled = rescale(array, "all", 99.8, shared=True)
    return _bytes(scaled * 127.5 + 127.5)


def draw_input(values: Any) -> np.ndarray:
    """Draw an input `(C, H, W)` of unknown normalisation, stretched over all brightnesses."""
    array = _picture(values)
    if len(array) not in (1, 3):
        array = reduce_channels(values, "mean")[None]
    return _bytes(image_normalization(array))


def enlarged(picture: np.ndarray, side: int) -> np.ndarray:
    """Enlarge a picture `(H, W, 3)` so that its longer side has at least so many pixels."""
    factor = side / max(picture.shape[:2])
    if factor <= 1:
        return picture
    size = tuple(max(1, round(extent * factor)) for extent in reversed(picture.shape[:2]))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def _picture(values: Any) -> np.ndarray:
    array = as_floats(values)
    if array.ndim != 3 or 0 in array.shape:
        raise ShapeError(f"only pictures (C, H, W) can be drawn, got the shape {array.shape}")
    return array


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.broadcast_to(
        np.rint(np.moveaxis(array, 0, -1)).astype(np.uint8), (*array.shape[1:], 3)
    ).copy()

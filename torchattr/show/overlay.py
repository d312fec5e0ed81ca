"""Overlays of maps on pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from torchattr.errors import InputError
from torchattr.show.arrays import as_floats, as_map, as_picture
from torchattr.show.channels import LUMA
from torchattr.show.colors import colormap, default_colormap, is_diverging, table


def overlay(
    image: Any,
    values: Any,
    alpha: float = 0.75,
    threshold: float = 0.0,
    cmap: str | None = None,
    follow: bool = True,
    fade: float = 0.0,
    dim: float = 0.0,
) -> np.ndarray:
    """Overlay a rescaled map on a picture so that both stay visible.

    The colour covers each pixel with opacity ``alpha · abs(value)``, so that the picture shows
    through where the map is weak, or with ``alpha`` everywhere if ``follow`` is False.

    image: a PIL image, ``(H, W)``, ``(H, W, 3)`` or ``(3, H, W)``; see ``as_picture``.
    values: one map ``(h, w)`` in 0..1, or −1..1 with a diverging colour map (see ``rescale``);
        resized to the picture. NaN leaves the picture as it is.
    alpha: maximum opacity, 0..1.
    threshold: magnitudes below it are not drawn.
    cmap: see ``colormap``.
    fade: how far pixels with NaN turn white, 0..1: marks what the model did not see.
    dim: how far the picture beneath the map loses its colours and turns to the grey of the map's
        zero, 0..1, so that no colour of the picture looks like one of the map.

    Returns uint8 RGB ``(H, W, 3)``.
    Raises ``InputError`` for arguments out of range and ``ShapeError`` for wrong shapes.

    >>> overlay(np.zeros((2, 2)), [[0.0, 1.0], [0.0, 0.0]], alpha=1.0, cmap="gray")[0, :, 0]
    array([  0, 255], dtype=uint8)
    """
    shares = {"alpha": alpha, "threshold": threshold, "fade": fade, "dim": dim}
    for name, number in shares.items():
        if not 0 <= number <= 1:
            raise InputError(f"{name} must lie in 0..1, got {number}")
    picture = as_picture(image)
    array = resize_map(as_map(values), picture.shape[:2])
    cmap = cmap or default_colormap(array)
    opacity = _opacity(array, alpha, threshold, follow)
    colors = colormap(array, cmap).astype(np.float32)
    unknown = np.isnan(array)[..., None]
    faded = picture + (255.0 - picture) * (fade * unknown)
    beneath = np.where(unknown, faded, _dimmed(picture, cmap, dim))
    return np.rint(beneath + (colors - beneath) * opacity[..., None]).astype(np.uint8)


def _dimmed(picture: np.ndarray, cmap: str, dim: float) -> np.ndarray:
    """Return a picture with less colour, closer to the grey of a colour map's zero."""
    grey = (picture @ LUMA)[..., None]
    muted = picture + (grey - picture) * (1 - (1 - dim) ** 2)
    colors = table(cmap)
    zero = float(colors[len(colors) // 2 if is_diverging(cmap) else 0] @ LUMA)
    return muted + (zero - muted) * dim


def resize_map(values: Any, size: tuple[int, int]) -> np.ndarray:
    """Return a map ``(..., h, w)`` resized to ``(..., H, W)`` by linear interpolation.

    Pixels that touch an unknown one (NaN) become unknown.
    """
    array = as_floats(values)
    if array.shape[-2:] == tuple(size):
        return array
    flat = array.reshape(-1, *array.shape[-2:]).astype(np.float32)
    width_height = (size[1], size[0])
    resized = [
        np.asarray(Image.fromarray(one).resize(width_height, Image.Resampling.BILINEAR))
        for one in flat
    ]
    low, high = np.nanmin(flat, initial=0.0), np.nanmax(flat, initial=0.0)
    return np.clip(np.stack(resized), low, high).reshape(*array.shape[:-2], *size)


def _opacity(array: np.ndarray, alpha: float, threshold: float, follow: bool) -> np.ndarray:
    strength = np.abs(np.nan_to_num(array))
    shown = ~np.isnan(array) & (strength >= threshold)
    return (alpha * (strength if follow else 1.0) * shown).astype(np.float32)

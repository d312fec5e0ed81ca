"""Overlays of maps on pictures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from torchattr.core.arguments import checked_flags, plain_numbers
from torchattr.core.checked_numbers import checked_share
from torchattr.errors import InputError, ShapeError
from torchattr.show.arrays import as_floats, as_map, as_picture
from torchattr.show.channels import LUMA
from torchattr.show.colors import colormap, default_colormap, is_diverging, table


@checked_flags
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
    Raises ``InputError`` for arguments out of range, ``InputTypeError`` for those that are no
    numbers, and ``ShapeError`` for wrong shapes.

    >>> overlay(np.zeros((2, 2)), [[0.0, 1.0], [0.0, 0.0]], alpha=1.0, cmap="gray")[0, :, 0]
    array([  0, 255], dtype=uint8)
    """
    alpha, threshold = checked_share(alpha, "alpha"), checked_share(threshold, "threshold")
    fade, dim = checked_share(fade, "fade"), checked_share(dim, "dim")
    picture = as_picture(image)
    array = resize_map(as_map(values), picture.shape[:2])
    cmap = default_colormap(array) if cmap is None else cmap
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

    Pixels that touch an unknown one (NaN) become unknown. Raises ``ShapeError`` for what is no map,
    ``InputError`` for what is no size.
    """
    array = as_floats(values)
    if array.ndim < 2 or 0 in array.shape[-2:]:
        raise ShapeError(f"values must be maps (..., h, w), got the shape {array.shape}")
    size = _as_size(size)
    if array.shape[-2:] == size:
        return array
    flat = array.reshape(-1, *array.shape[-2:]).astype(np.float32)
    width_height = (size[1], size[0])
    resized = [
        np.asarray(Image.fromarray(one).resize(width_height, Image.Resampling.BILINEAR))
        for one in flat
    ]
    low, high = np.nanmin(flat, initial=0.0), np.nanmax(flat, initial=0.0)
    return np.clip(np.stack(resized), low, high).reshape(*array.shape[:-2], *size)


def _as_size(size: Any) -> tuple[int, int]:
    listed = size.tolist() if isinstance(size, Tensor) else size
    sides: list[Any] = plain_numbers(list(listed)) if isinstance(listed, Iterable) else []
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise InputError(f"size must be the height and width in pixels, got {size!r}")
    return sides[0], sides[1]


def _opacity(array: np.ndarray, alpha: float, threshold: float, follow: bool) -> np.ndarray:
    strength = np.abs(np.nan_to_num(array))
    shown = ~np.isnan(array) & (strength >= threshold)
    return (alpha * (strength if follow else 1.0) * shown).astype(np.float32)

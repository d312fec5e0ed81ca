"""Drawing inputs, signals, feature maps and kernels, one by one or on a captioned grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from torchattr.errors import InputError, LayerError, ShapeError
from torchattr.show import (
    Sign,
    as_floats,
    colormap,
    grid,
    image_normalization,
    reduce_channels,
    rescale,
    width_of,
)

MOST_PIXELS = 100_000_000
MOST_WIDTH = 160
CAPTION = 12
_STRIP = 8
"""Length of a one-dimensional map per unit of the height that it is drawn with."""


def draw_signal(values: Any) -> np.ndarray:
    """Draw a signed signal `(C, H, W)` around mid grey, which is zero, as uint8 `(H, W, 3)`.

    One and three channels keep their colours; others are summed to grey.
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
    """Enlarge a picture `(H, W, 3)` so that its longer side has at least `side` pixels."""
    height, width = picture.shape[:2]
    factor = side / max(height, width)
    if factor <= 1:
        return picture
    size = max(1, round(width * factor)), max(1, round(height * factor))
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


@dataclass(frozen=True)
class Planes:
    """Two-dimensional maps `(n, H, W)`, each with its caption."""

    values: np.ndarray
    captions: Sequence[str]

    @classmethod
    def of(cls, maps: Tensor, names: Sequence[str]) -> Planes:
        """Make planes from maps `(n, W)`, `(n, H, W)` or `(n, D, H, W)`.

        Raises:
            LayerError: maps of more dimensions, or without values.
        """
        values = as_floats(maps, "maps")
        if 0 in values.shape:
            raise LayerError(f"the maps have the shape {values.shape}, so there is nothing to draw")
        if values.ndim == 2:
            values = values[:, None].repeat(math.ceil(values.shape[1] / _STRIP), axis=1)
        if values.ndim == 4:
            names = [f"{name}, plane {i}" for name in names for i in range(values.shape[1])]
            values = values.reshape(-1, *values.shape[2:])
        if values.ndim != 3:
            raise LayerError(
                f"the maps have {values.ndim - 1} dimensions after the channel; one, two or three"
                " can be drawn"
            )
        return cls(values, names)


def draw(
    planes: Planes,
    shared: bool,
    percentile: float | None,
    cmap: str | None,
    columns: int | None,
    cell: int,
    signed: bool = False,
) -> Image.Image:
    """Draw planes on a grid, diverging around zero if signed or if values are negative.

    Raises:
        InputError: a picture too large to draw, or values out of range.
    """
    sign: Sign = "all" if signed or (planes.values < 0).any() else "positive"
    scaled = rescale(planes.values, sign, percentile, shared)
    largest = np.abs(planes.values).max(axis=(1, 2))
    name = cmap or ("RdBu_r" if sign == "all" else "viridis")
    return tile(colormap(scaled, name), labelled(planes.captions, largest), columns, cell)


def labelled(names: Sequence[object], magnitudes: Sequence[float] | np.ndarray) -> list[str]:
    """Append the largest magnitude of each picture to its name.

    >>> labelled([3], [0.12345])
    ['3: 0.12']
    """
    return [f"{name}: {size:.2g}" for name, size in zip(names, magnitudes, strict=True)]


def tile(
    pictures: np.ndarray, captions: Sequence[str], columns: int | None, cell: int
) -> Image.Image:
    """Tile pictures `(n, H, W, 3)` on a grid, enlarged by an integer factor.

    Their longer side has at least `cell` pixels, and their captions fit below them.

    Raises:
        InputError: a picture too large to draw.
    """
    if not 1 <= cell <= 4096:
        raise InputError(f"cell must be within 1..4096 pixels, got {cell}")
    height, width = pictures.shape[1:3]
    longest = max(width_of(caption, CAPTION) for caption in captions)
    factor = math.ceil(max(1, cell / max(height, width), min(longest, MOST_WIDTH) / width))
    if len(pictures) * height * width * factor**2 > MOST_PIXELS:
        raise InputError(
            f"{len(pictures)} pictures of {height * factor} × {width * factor} pixels are more than"
            f" {MOST_PIXELS:,} pixels together; choose some of the channels, or a smaller cell"
        )
    enlarged = pictures.repeat(factor, axis=1).repeat(factor, axis=2)
    return Image.fromarray(grid(list(enlarged), columns=columns, captions=captions))


def chosen_indices(chosen: Sequence[int] | int | None, count: int, name: str) -> list[int]:
    """Return the chosen indices, non-negative; `None` chooses all of them.

    Raises:
        InputError: no index, or one out of range.
    """
    if chosen is None:
        return list(range(count))
    positions = [chosen] if isinstance(chosen, int) else list(chosen)
    if not positions:
        raise InputError(f"{name} is empty; leave it out for all {count}")
    for one in positions:
        if not isinstance(one, (int, np.integer)) or not -count <= one < count:
            raise InputError(f"{name} must be within 0..{count - 1}, got {one!r}")
    return [int(one) % count for one in positions]

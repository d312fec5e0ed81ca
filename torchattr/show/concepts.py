"""Pictures of concepts: which of several maps is strongest where, and what each is called."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np

from torchattr.core.arguments import checked_texts
from torchattr.core.checked_numbers import checked_share
from torchattr.errors import InputError, ShapeError
from torchattr.show.arrays import as_floats, as_picture
from torchattr.show.channels import LUMA
from torchattr.show.grid import grid
from torchattr.show.overlay import resize_map


def concept_picture(
    image: Any, maps: Any, labels: Sequence[str] | None = None, alpha: float = 0.75
) -> np.ndarray:
    """Colour a picture by the strongest of several maps, with a legend of their names.

    The picture beneath is grey, so that no colour of it looks like that of a concept. Each pixel
    has the colour of the concept whose map, as a share of its largest value, is largest there, with
    opacity by that share. Overlapping concepts are *not* seen below the strongest.

    image: a PIL image, ``(H, W)``, ``(H, W, 3)`` or ``(3, H, W)``; see ``as_picture``.
    maps: ``(k, h, w)``, not negative; resized to the picture.
    labels: a name for each map; without them there is no legend.
    alpha: maximum opacity, 0..1.

    Returns uint8 RGB, the picture with its legend below.
    Raises ``ShapeError`` for maps of another shape, and ``InputError`` for an opacity out of range
    or another number of labels.

    >>> concept_picture(np.zeros((4, 4)), np.eye(4).reshape(1, 4, 4)).shape
    (4, 4, 3)
    """
    picture, values = as_picture(image), as_floats(maps)
    if values.ndim != 3 or not len(values):
        raise ShapeError(f"maps must have the shape (k, h, w), got {values.shape}")
    alpha = checked_share(alpha, "alpha")
    labels = None if labels is None else checked_texts(labels, "labels")
    if labels is not None and len(labels) != len(values):
        raise InputError(f"labels has {len(labels)} entries for {len(values)} maps")
    largest = values.max((1, 2), keepdims=True)
    shares = resize_map(values / np.where(largest > 0, largest, 1), picture.shape[:2])
    colors = concept_colors(len(values))
    strongest = shares.argmax(0)
    opacity = (alpha * shares.max(0).clip(0, 1))[..., None]
    beneath = (picture @ LUMA)[..., None]
    drawn = np.rint(beneath + (colors[strongest] - beneath) * opacity).astype(np.uint8)
    if labels is None:
        return drawn
    swatches = [np.full((16, _SWATCH, 3), color, np.uint8) for color in colors]
    columns = max(1, drawn.shape[1] // (_SWATCH + 8))
    return _below(drawn, grid(swatches, columns=columns, captions=labels))


_SWATCH = 96


def _below(drawn: np.ndarray, legend: np.ndarray) -> np.ndarray:
    """Return one picture above another, on white."""
    width = max(drawn.shape[1], legend.shape[1])
    whole = np.full((drawn.shape[0] + legend.shape[0], width, 3), 255, np.uint8)
    whole[: drawn.shape[0], : drawn.shape[1]] = drawn
    whole[drawn.shape[0] :, : legend.shape[1]] = legend
    return whole


def concept_colors(count: int) -> np.ndarray:
    """Return distinct colours, ``(count, 3)`` floats 0..255.

    Up to seven can be told apart by people who see few colours.
    """
    if count <= len(_PALETTE):
        return np.asarray(_PALETTE[:count], np.float32).reshape(count, 3)
    hues = [colorsys.hls_to_rgb(number / count, 0.55, 0.65) for number in range(count)]
    return np.asarray(hues, np.float32) * 255


_PALETTE = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
    (86, 180, 233),
    (240, 228, 66),
)
"""The colours of Okabe and Ito 2008, "Color Universal Design", without black."""

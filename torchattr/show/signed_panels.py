"""Three panels of a signed map: all values, positive values, negative values."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchattr.core.arguments import checked_flags
from torchattr.errors import ShapeError
from torchattr.show.arrays import as_floats
from torchattr.show.channels import reduce_channels
from torchattr.show.grid import grid
from torchattr.show.scaling import Sign, rescale

SIGNS: tuple[Sign, ...] = ("all", "positive", "negative")
"""The panels, from left to right."""


@checked_flags
def signed_panels(
    values: Any,
    gray: bool = False,
    percentile: float | None = None,
    captions: bool = True,
) -> np.ndarray:
    """Draw the gradient of each picture in three panels: all, positive, negative.

    *All* is drawn around mid grey, which is zero: x / max abs(x). *Positive* and *negative* are
    drawn on black: max(0, ±x) / max. Equal values have equal colours only within a panel.

    The order matters: first the channels are reduced if ``gray``, by the luma
    0.299 R + 0.587 G + 0.114 B of the raw values; then each panel is rescaled, the channels of a
    picture together. In the opposite order, opposite colours of a gradient would not cancel, and
    the scale of each channel would change its weight.

    values: ``(C, H, W)`` or ``(N, C, H, W)`` with 1 or 3 channels; one row of panels per picture.
    gray: draw brightness instead of colours.
    percentile: see ``rescale``.
    captions: label each panel.

    Returns uint8 RGB ``(H', W', 3)``.
    Raises ``ShapeError`` for other shapes, ``InputError`` for infinite values or NaN.

    >>> signed_panels(np.zeros((3, 8, 8)), captions=False).shape
    (16, 40, 3)
    """
    array = as_floats(values)
    batch = array[None] if array.ndim == 3 else array
    if batch.ndim != 4 or batch.shape[1] not in (1, 3) or 0 in batch.shape:
        raise ShapeError(
            f"values must be (C, H, W) or (N, C, H, W) with 1 or 3 channels, got {array.shape}"
        )
    if gray:
        batch = reduce_channels(values, "luma").reshape(len(batch), 1, *batch.shape[2:])
    panels = [_panel(one, sign, percentile) for one in batch for sign in SIGNS]
    names = list(SIGNS) * len(batch) if captions else None
    return grid(panels, columns=len(SIGNS), captions=names)


def _panel(values: np.ndarray, sign: Sign, percentile: float | None) -> np.ndarray:
    scaled = np.moveaxis(rescale(values, sign, percentile, shared=True), 0, -1)
    return (scaled + 1) / 2 if sign == "all" else scaled

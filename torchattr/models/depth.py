"""Convert pixel values of more than 8 bits to grey levels: 16-bit files, integers, floats."""

from __future__ import annotations

import numpy as np

from torchattr.core.warn import warn
from torchattr.errors import ImageError, TorchattrWarning

BITS = (8, 10, 12)
"""Bit depths stored in 16-bit files; read as 16 bits, they would be nearly black."""
PERCENTILES = (0.5, 99.5)
"""The percentiles shown as black and white where values are not grey levels."""
_DARK = 1 / 16


class BrightnessWarning(TorchattrWarning):
    """Values of an image were rescaled, since they do not span the range of its file format."""


def grey_levels(values: np.ndarray, name: str) -> np.ndarray:
    """Return pixel values as 8-bit grey levels.

    Integers of 0..65535 are read as 16 bits, or, with a ``BrightnessWarning``, as the 8, 10 or 12
    bits that suffice for all. Floats are read as 0..1, or as 0..255 if one exceeds 1. All other
    values, such as those of a computed tomography, are rescaled from the 0.5th to the 99.5th
    percentile, with a ``BrightnessWarning``.

    name: the file's name in messages.
    Raises ``ImageError`` for values that are NaN or infinite.

    >>> grey_levels(np.array([[0, 65535]], np.uint16), "a.png").tolist()
    [[0, 255]]
    """
    integers = np.issubdtype(values.dtype, np.integer)
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ImageError(f"{name}: the image contains NaN or infinite values")
    largest = _full_scale(values, integers, name)
    unit = values / largest if largest is not None else _stretched(values, name)
    return np.clip(np.rint(unit * 255), 0, 255).astype(np.uint8)


def _full_scale(values: np.ndarray, integers: bool, name: str) -> float | None:
    """Return the value of white, if the values are grey levels."""
    least, most = values.min(), values.max()
    if least < 0:
        return None
    if not integers:
        return _of_floats(most)
    if most > 65535:
        return None
    bits = next((bits for bits in BITS if most < 2**bits), 16)
    if bits < 16 and most > 0:
        warn(
            f"{name}: no value is above {most:.0f}, so the image is assumed to have {bits} bits"
            " per channel",
            BrightnessWarning,
        )
    return float(2**bits - 1)


def _of_floats(most: float) -> float | None:
    if most <= 1:
        return 1.0
    return 255.0 if 255 * _DARK <= most <= 255 else None


def _stretched(values: np.ndarray, name: str) -> np.ndarray:
    black, white = np.percentile(values, PERCENTILES)
    if black == white:
        black, white = values.min(), values.max()
    warn(
        f"{name}: values from {values.min():.6g} to {values.max():.6g} are not grey levels; they"
        f" are rescaled from {black:.6g} (black) to {white:.6g} (white). Save the image with 8 bits"
        " to choose the range",
        BrightnessWarning,
    )
    return (values - black) / (white - black or 1.0)

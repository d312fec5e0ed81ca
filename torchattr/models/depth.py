"""Pixel values of more than 8 bits as grey levels: 16-bit files, integers and floats."""

from __future__ import annotations

import numpy as np

from torchattr.core.warn import warn
from torchattr.errors import ImageError, TorchattrWarning

BITS = (8, 10, 12)
"""Depths that come in 16-bit files; taken as 16 bits, they would be nearly black."""
PERCENTILES = (0.5, 99.5)
"""What is drawn as black and as white where values are no grey levels."""
_DARK = 1 / 16


class BrightnessWarning(TorchattrWarning):
    """Values of a picture were stretched, since they are no grey levels of its kind of file."""


def grey_levels(values: np.ndarray, name: str) -> np.ndarray:
    """Return pixel values as 8-bit grey levels.

    Integers of 0..65535 are taken as 16 bits, or, with a ``BrightnessWarning``, as the 8, 10 or 12
    bits that hold them all. Floats are taken as 0..1, or as 0..255 when one exceeds 1. All other
    values, such as those of a computed tomography, are stretched from the 0.5th to the 99.5th
    percentile, with a ``BrightnessWarning``.

    name: what the file is called in messages.
    Raises ``ImageError`` for values that are NaN or infinite.

    >>> grey_levels(np.array([[0, 65535]], np.uint16), "a.png").tolist()
    [[0, 255]]
    """
    integers = np.issubdtype(values.dtype, np.integer)
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ImageError(f"{name}: the picture holds NaN or infinite values")
    largest = _full_scale(values, integers, name)
    unit = values / largest if largest is not None else _stretched(values, name)
    return np.clip(np.rint(unit * 255), 0, 255).astype(np.uint8)


def _full_scale(values: np.ndarray, integers: bool, name: str) -> float | None:
    """Return the value that stands for white, if the values are grey levels."""
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
            f"{name}: no value is above {most:.0f}, so the picture is taken to have {bits} bits in"
            " a file of more",
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
        f"{name}: values from {values.min():.6g} to {values.max():.6g} are no grey levels; those"
        f" from {black:.6g} (black) to {white:.6g} (white) are shown to the model. Save the picture"
        " with 8 bits to choose them",
        BrightnessWarning,
    )
    return (values - black) / (white - black or 1.0)

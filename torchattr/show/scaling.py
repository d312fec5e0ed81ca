"""Rescale maps and pictures of any range for display."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np

from torchattr.core.arguments import check_choice, checked_flags
from torchattr.core.checked_numbers import as_number, checked_number
from torchattr.core.rounding import settled, share, unit
from torchattr.errors import InputError, ShapeError
from torchattr.show.arrays import as_floats

Sign = Literal["positive", "negative", "all", "absolute"]


@checked_flags
def rescale(
    values: Any,
    sign: Sign = "positive",
    percentile: float | None = None,
    shared: bool = False,
) -> np.ndarray:
    """Scale attributions for display, each image by its own largest value.

    With ``s`` the largest remaining magnitude, or the given percentile of the magnitudes:

    - ``"positive"``: max(0, x) / s, in 0..1
    - ``"negative"``: max(0, −x) / s, in 0..1
    - ``"absolute"``: abs(x) / s, in 0..1
    - ``"all"``: x / s, in −1..1; zero stays zero, so that both signs can be told apart

    A map with nothing to show (all zero, or of the other sign) becomes all zero, never NaN. NaN in
    the input marks unknown pixels; it is ignored and kept. The result is *not* comparable
    between images unless ``shared``. However small a map is, it is scaled up: rounding
    errors of terms that cancel look like values here; ``reduce_channels`` zeroes them.

    values: ``(H, W)``, or ``(N, ...)`` with the images along the first axis. One picture
        ``(C, H, W)`` whose channels belong together needs ``shared=True``. Reduce channels first
        (``reduce_channels``): reducing after rescaling yields a different picture.
    percentile: between 0 and 100; values beyond it are clipped, so that one outlier does not
        darken the rest. If it is zero (a sparse map), the largest magnitude is used.
    shared: one scale for all images.

    Raises ``InputError`` for an unknown sign, a percentile out of range, or infinite values.

    >>> rescale([[2.0, -4.0], [0.0, 1.0]], sign="all")
    array([[ 0.5 , -1.  ],
           [ 0.  ,  0.25]])
    """
    check_choice("sign", sign, get_args(Sign))
    percentile = checked_percentile(percentile)
    array = kept(as_floats(values), sign)
    if array.size == 0:
        return array
    if shared or array.ndim <= 2:
        return _divide(array, percentile)
    return np.stack([_divide(image, percentile) for image in array])


def checked_percentile(percentile: float | None) -> float | None:
    """Return a percentile; ``None`` is none.

    Raises ``InputTypeError`` for no number, ``InputError`` for one out of range.
    """
    if percentile is None:
        return None
    number = as_number(percentile, "percentile")
    if not 0 < number <= 100:
        raise InputError(f"percentile must be above 0 and at most 100, got {number}")
    return number


def image_normalization(image: Any, ubound: float = 255, epsilon: float = 1e-7) -> np.ndarray:
    """Stretch values over 0..ubound: (x − min) / (max − min + epsilon) · ubound, as float.

    A batch ``(N, C, H, W)`` or ``(N, H, W, C)`` is stretched image by image. An image that is
    constant, up to the rounding of its dtype, becomes all zero.

    >>> image_normalization([[0, 1], [2, 4]], ubound=1).round(3)
    array([[0.  , 0.25],
           [0.5 , 1.  ]], dtype=float32)
    """
    ubound, epsilon = checked_number(ubound, "ubound"), checked_number(epsilon, "epsilon", 0)
    array = as_floats(image, "image")
    if array.size == 0:
        return array
    doubled = array.astype(np.float64)
    low, high = (reach(doubled, _axes(array), keepdims=True) for reach in (np.min, np.max))
    span = settled(high - low, _share(image) * (np.abs(low) + np.abs(high)))
    stretched = (doubled - low) * (span > 0) / np.where(span > 0, span + epsilon, 1)
    return (stretched * ubound).astype(array.dtype)


def deprocess_image(image: Any) -> np.ndarray:
    """Draw a gradient around mid grey: clip((x − mean) / (std + 1e-5) · 0.1 + 0.5) · 255.

    image: one image of any layout, or a batch of four axes, which is treated image by image.
    Returns uint8 of the same shape. A constant image is mid grey, and so is a pixel that equals
    the mean up to the rounding of its dtype. The sign of small values is *not* kept, since the mean
    is subtracted; ``rescale(sign="all")`` keeps it.

    >>> deprocess_image(np.zeros((1, 2, 3)))[0, 0]
    array([127, 127, 127], dtype=uint8)
    """
    array = as_floats(image, "image").astype(np.float64)
    if array.size == 0:
        return array.astype(np.uint8)
    axes = _axes(array)
    size = np.abs(array)
    error = _share(image) * (size + size.mean(axes, keepdims=True))
    centred = settled(array - array.mean(axes, keepdims=True), error)
    standard = centred / (np.sqrt(np.square(centred).mean(axes, keepdims=True)) + 1e-5)
    if np.isnan(standard).any():
        raise InputError("image holds NaN, which cannot be drawn")
    return (np.clip(standard * 0.1 + 0.5, 0, 1) * 255).astype(np.uint8)


def _axes(array: np.ndarray) -> tuple[int, ...] | None:
    return tuple(range(1, 4)) if array.ndim == 4 else None


def _share(values: Any) -> float:
    # Means of doubles are summed pairwise; the other roundings are those of the values.
    return share(unit(values), 8, float(np.finfo(np.float64).eps))


def kept(array: np.ndarray, sign: Sign) -> np.ndarray:
    """Return what is drawn of values: those of a sign, or all magnitudes; see ``rescale``."""
    if array.ndim < 2:
        raise ShapeError(f"values must have at least two axes (H, W), got the shape {array.shape}")
    if sign == "positive":
        return np.maximum(array, 0)
    if sign == "negative":
        return np.maximum(-array, 0)
    return np.abs(array) if sign == "absolute" else array


def scale_of(array: np.ndarray, percentile: float | None) -> Any:
    """Return the magnitude that values are divided by, of the values' dtype; zero if all are."""
    magnitude = np.abs(array[~np.isnan(array)])
    scale = magnitude.max(initial=0)
    if percentile is not None and scale > 0:
        scale = np.percentile(magnitude, percentile).astype(array.dtype) or scale
    return scale


def _divide(array: np.ndarray, percentile: float | None) -> np.ndarray:
    scale = scale_of(array, percentile)
    if scale == 0:
        return array * array.dtype.type(0)
    # Values beyond the scale are clipped first, since the quotient could overflow.
    return np.clip(array, -scale, scale) / scale

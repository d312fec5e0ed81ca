"""From one value per channel to one value per pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from torchattr.errors import InputError, ShapeError
from torchattr.show.arrays import as_floats

How = Literal["luma", "sum", "mean", "max_abs", "l2", "deviation"]

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness of a picture (ITU-R BT.601)."""


def reduce_channels(values: Any, how: How = "max_abs", axis: int = -3) -> np.ndarray:
    """Reduce the channel axis: ``(N, C, H, W)`` to ``(N, H, W)``, ``(C, H, W)`` to ``(H, W)``.

    - ``"max_abs"``: the largest magnitude, as in saliency maps (Simonyan et al. 2013,
      arXiv:1312.6034); never negative
    - ``"l2"``: sqrt(Σ x²); never negative
    - ``"sum"``, ``"mean"``: signed; what adds up to the total attribution is the sum
    - ``"deviation"``: the sum less its mean over the map, for maps whose zero means nothing; signed
    - ``"luma"``: 0.299 R + 0.587 G + 0.114 B, signed; three channels, or one that is kept

    Reduce before ``rescale``.

    >>> reduce_channels(np.array([[[3.0]], [[-4.0]]]), how="l2")
    array([[5.]])
    """
    array = as_floats(values)
    if how not in _REDUCTIONS:
        raise InputError(f"how must be one of {tuple(_REDUCTIONS)}, got {how!r}")
    if not -array.ndim <= axis < array.ndim or array.shape[axis] == 0:
        raise ShapeError(
            f"values must have channels along axis {axis}, as in (N, C, H, W) or (C, H, W), "
            f"got the shape {array.shape}"
        )
    return _REDUCTIONS[how](np.moveaxis(array, axis, 0))


def _luma(channels: np.ndarray) -> np.ndarray:
    if len(channels) == 1:
        return channels[0]
    if len(channels) != 3:
        raise ShapeError(f"luma needs three channels, or one, got {len(channels)}")
    return np.tensordot(np.asarray(LUMA, channels.dtype), channels, axes=1)


def _l2(channels: np.ndarray) -> np.ndarray:
    # Squares of large or tiny gradients would leave the range of float32.
    scale = np.abs(channels).max(0)
    safe = np.where(scale == 0, 1, scale)
    return np.sqrt(np.square(channels / safe).sum(0)) * scale


def _deviation(channels: np.ndarray) -> np.ndarray:
    total = channels.sum(0)
    axes = tuple(range(max(total.ndim - 2, 0), total.ndim))
    known = (~np.isnan(total)).sum(axes, keepdims=True)
    mean = np.nansum(total, axes, np.float64, keepdims=True) / np.maximum(known, 1)
    return total - mean.astype(total.dtype)


_REDUCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "luma": _luma,
    "sum": lambda channels: channels.sum(0),
    "mean": lambda channels: channels.mean(0),
    "max_abs": lambda channels: np.abs(channels).max(0),
    "l2": _l2,
    "deviation": _deviation,
}

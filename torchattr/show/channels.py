"""Reduce the channels of an attribution to one value per pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from torchattr.core.arguments import check_choice
from torchattr.core.rounding import settled, share, unit
from torchattr.errors import ShapeError
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
    - ``"deviation"``: the sum minus its spatial mean, for maps whose zero has no meaning; signed
    - ``"luma"``: 0.299 R + 0.587 G + 0.114 B, signed; three channels, or a single one

    Signed results are zero where channels cancel up to the rounding of their dtype, so that
    ``rescale`` does not amplify rounding errors. Reduce before ``rescale``.

    >>> reduce_channels(np.array([[[3.0]], [[-4.0]]]), how="l2")
    array([[5.]])
    >>> reduce_channels(np.array([[[0.1]], [[0.2]], [[-0.3]]]), how="sum")
    array([[0.]])
    """
    array = as_floats(values)
    check_choice("how", how, _REDUCTIONS)
    if not -array.ndim <= axis < array.ndim or array.shape[axis] == 0:
        raise ShapeError(
            f"values must have channels along axis {axis}, as in (N, C, H, W) or (C, H, W), "
            f"got the shape {array.shape}"
        )
    return _REDUCTIONS[how](np.moveaxis(array, axis, 0), unit(values))


def add_channels(channels: np.ndarray, terms: float) -> np.ndarray:
    """Return the sum over the first axis in floats, zero where it is zero up to rounding.

    terms: the ``unit`` of the original dtype of the channels.
    """
    total, error = _sum(channels, np.ones(len(channels)), terms)
    return settled(total, error).astype(np.result_type(channels, np.float32))


def _sum(
    channels: np.ndarray, weights: Sequence[float] | np.ndarray, terms: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted sum over the first axis in double precision, and its rounding error."""
    # Channel by channel, so that the order of summation does not depend on the machine.
    total, size = np.zeros(channels.shape[1:]), np.zeros(channels.shape[1:])
    for weight, channel in zip(weights, channels, strict=True):
        term = weight * channel.astype(np.float64)
        total += term
        size += np.abs(term)
    return total, share(terms, len(channels), unit(total)) * size


def _luma(channels: np.ndarray, terms: float) -> np.ndarray:
    if len(channels) == 1:
        return channels[0]
    if len(channels) != 3:
        raise ShapeError(f"luma needs three channels, or one, got {len(channels)}")
    return settled(*_sum(channels, LUMA, terms)).astype(channels.dtype)


def _mean(channels: np.ndarray, terms: float) -> np.ndarray:
    total, error = _sum(channels, np.ones(len(channels)), terms)
    return (settled(total, error) / len(channels)).astype(channels.dtype)


def _l2(channels: np.ndarray, terms: float) -> np.ndarray:
    # Squares of large or tiny gradients would leave the range of float32.
    scale = np.abs(channels).max(0)
    safe = np.where(scale == 0, 1, scale)
    return np.sqrt(np.square(channels / safe).sum(0)) * scale


def _deviation(channels: np.ndarray, terms: float) -> np.ndarray:
    total, error = _sum(channels, np.ones(len(channels)), terms)
    axes = tuple(range(max(total.ndim - 2, 0), total.ndim))
    mean, error_of_mean = (_known_mean(one, axes) for one in (total, error))
    return settled(total - mean, error + error_of_mean).astype(channels.dtype)


def _known_mean(values: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return the mean of what is not NaN, zero if all is NaN; the axes are kept."""
    known = (~np.isnan(values)).sum(axes, keepdims=True)
    return np.nansum(values, axes, keepdims=True) / np.maximum(known, 1)


_REDUCTIONS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "luma": _luma,
    "sum": add_channels,
    "mean": _mean,
    "max_abs": lambda channels, terms: np.abs(channels).max(0),
    "l2": _l2,
    "deviation": _deviation,
}

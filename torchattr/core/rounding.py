"""Set sums to zero that are zero up to rounding error.

An image is divided by its largest value before it is drawn. Where terms cancel, only their rounding
error may be left, and dividing by it would show noise at full brightness. How large the terms were
is known only where they are summed, so each sum that is drawn is settled there. The magnitude alone
decides nothing: an array of 1e-30 is as valid as any other.
"""

from __future__ import annotations

import math
from typing import Any, overload

import numpy as np
import torch

TERM = 2.0
"""Largest error of a term, in units of its dtype: up to four roundings of half a unit each."""


def unit(values: Any) -> float:
    """Return the machine epsilon of a tensor's or array's dtype; 0 for integers.

    >>> unit(torch.zeros(1, dtype=torch.bfloat16)), unit(np.zeros(1, np.uint8))
    (0.0078125, 0.0)
    """
    if isinstance(values, torch.Tensor):
        return torch.finfo(values.dtype).eps if values.is_floating_point() else 0.0
    dtype = np.asarray(values).dtype
    return float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0


def in_single(values: torch.Tensor) -> torch.Tensor:
    """Return values in single precision or higher, so that half-precision sums are not rounded.

    >>> in_single(torch.ones(2, dtype=torch.float16)).dtype, in_single(torch.ones(2)).dtype
    (torch.float32, torch.float32)
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))


def share(terms: float, additions: float, total: float) -> float:
    """Return a bound on the rounding error of a sum, relative to the sum of its magnitudes.

    `TERM · terms + additions · total`

    Args:
        terms: machine epsilon of the terms' dtype.
        additions: number of roundings of the running sum that may add up: all of them at worst,
            the square root of their number typically.
        total: machine epsilon of the dtype of the running sum.
    """
    return TERM * terms + additions * total


@overload
def settled(totals: np.ndarray, errors: np.ndarray) -> np.ndarray: ...


@overload
def settled(totals: torch.Tensor, errors: torch.Tensor) -> torch.Tensor: ...


def settled(totals: Any, errors: Any) -> Any:
    """Return the sums, with zeros for those smaller than the bound on their rounding error.

    NaN and infinite sums are kept.

    >>> settled(np.array([1e-17, 1e-17, np.nan]), np.array([2e-16, 0.0, 2e-16]))
    array([0.e+00, 1.e-17,      nan])
    """
    return totals * ~(abs(totals) < errors)


def settled_sum(terms: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
    """Return a tensor's sum over some dimensions, which are kept with size 1; see :func:`settled`.

    >>> settled_sum(torch.tensor([[0.1, 0.2, -0.3], [1.0, 1.0, 1.0]]), (1,)).tolist()
    [[0.0], [3.0]]
    """
    return settled(terms.sum(dims, keepdim=True), _sum_error(terms, dims))


def settled_mean(terms: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
    """Return a tensor's mean over some dimensions, kept with size 1; see :func:`settled`."""
    error = _sum_error(terms, dims)
    count = math.prod(terms.shape[dim] for dim in dims)
    return settled(terms.mean(dims, keepdim=True), error / count)


def _sum_error(terms: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
    # Half precision is summed in single precision. The share comes first, so as not to overflow.
    count = math.prod(terms.shape[dim] for dim in dims)
    total = min(unit(terms), torch.finfo(torch.float32).eps)
    return (terms.abs() * share(unit(terms), math.sqrt(count), total)).sum(dims, keepdim=True)

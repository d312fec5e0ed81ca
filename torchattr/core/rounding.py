"""Sums that are zero up to the rounding of their terms are zero.

What is drawn is divided by its largest value first. Where terms cancel, all that is left may be
the rounding of these terms, and dividing by it would show noise at full brightness. How large a
sum's terms were is known only where it is formed, so each sum that is drawn is settled there; a
scale is never judged by its size alone, since an array of 1e-30 is as good as any other.
"""

from __future__ import annotations

import math
from typing import Any, overload

import numpy as np
import torch

TERM = 2.0
"""How far a term may be off, in units of its type: that of up to four roundings of half a unit."""


def unit(values: Any) -> float:
    """Return the relative spacing of the numbers of a tensor's or array's type; integers have 0.

    >>> unit(torch.zeros(1, dtype=torch.bfloat16)), unit(np.zeros(1, np.uint8))
    (0.0078125, 0.0)
    """
    if isinstance(values, torch.Tensor):
        return torch.finfo(values.dtype).eps if values.is_floating_point() else 0.0
    dtype = np.asarray(values).dtype
    return float(np.finfo(dtype).eps) if dtype.kind == "f" else 0.0


def share(terms: float, additions: float, total: float) -> float:
    """Return how far a sum may be off by rounding, as a share of the sum of its magnitudes.

    TERM · terms + additions · total.

    terms: the unit of the type that the terms had. additions: how many roundings of the running
        sum may add up: their number at worst, its square root as a rule. total: the unit of the
        type that it is summed in.
    """
    return TERM * terms + additions * total


@overload
def settled(totals: np.ndarray, errors: np.ndarray) -> np.ndarray: ...


@overload
def settled(totals: torch.Tensor, errors: torch.Tensor) -> torch.Tensor: ...


def settled(totals: Any, errors: Any) -> Any:
    """Return sums, with zero for those that are smaller than their rounding error may be.

    NaN and infinite sums stay.

    >>> settled(np.array([1e-17, 1e-17, np.nan]), np.array([2e-16, 0.0, 2e-16]))
    array([0.e+00, 1.e-17,      nan])
    """
    return totals * ~(abs(totals) < errors)


def settled_sum(terms: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
    """Return a tensor's sum over some dimensions, which stay; see ``settled``.

    >>> settled_sum(torch.tensor([[0.1, 0.2, -0.3], [1.0, 1.0, 1.0]]), (1,)).tolist()
    [[0.0], [3.0]]
    """
    return settled(terms.sum(dims, keepdim=True), _sum_error(terms, dims))


def settled_mean(terms: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
    """Return a tensor's mean over some dimensions, which stay; see ``settled``."""
    error = _sum_error(terms, dims)
    count = math.prod(terms.shape[dim] for dim in dims)
    return settled(terms.mean(dims, keepdim=True), error / count)


def _sum_error(terms: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
    # Half precision is summed in single precision. The share comes first, so as not to overflow.
    count = math.prod(terms.shape[dim] for dim in dims)
    total = min(unit(terms), torch.finfo(torch.float32).eps)
    return (terms.abs() * share(unit(terms), math.sqrt(count), total)).sum(dims, keepdim=True)

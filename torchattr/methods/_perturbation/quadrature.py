"""Integrals along straight paths: where the integrand is evaluated, and with what weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from torchattr.core.arguments import check_choice
from torchattr.core.rounding import in_single
from torchattr.methods._perturbation.checked import checked_count

Quadrature: TypeAlias = tuple[Sequence[float], Sequence[float]]
"""Points of `[0, 1]` and their weights."""


def quadrature(method: str, n_steps: Any, *, further: int = 0) -> Quadrature:
    """Return the points of `[0, 1]` at which the integrand is evaluated, and their weights.

    Args:
        method: the name of the rule.
        n_steps: number of points.
        further: number of points beside these.

    Raises:
        InputError: an unknown `method`, or too few steps.

    >>> quadrature("riemann_middle", 2)
    ([0.25, 0.75], [0.5, 0.5])
    """
    check_choice("method", method, _RULES)
    least = max(2 - further, 1) if method == "riemann_trapezoid" else 1
    return _RULES[method](checked_count(n_steps, f"n_steps of {method!r}", least) + further)


def _riemann(offset: float) -> Callable[[int], Quadrature]:
    return lambda n: ([(i + offset) / n for i in range(n)], [1 / n] * n)


def _trapezoid(n: int) -> Quadrature:
    inner = [1 / (n - 1)] * (n - 2)
    return [i / (n - 1) for i in range(n)], [0.5 / (n - 1), *inner, 0.5 / (n - 1)]


def _gauss_legendre(n: int) -> Quadrature:
    points, weights = np.polynomial.legendre.leggauss(n)
    return ((1 + points) / 2).tolist(), (weights / 2).tolist()


_RULES: Mapping[str, Callable[[int], Quadrature]] = {
    "gausslegendre": _gauss_legendre,
    "riemann_left": _riemann(0.0),
    "riemann_right": _riemann(1.0),
    "riemann_middle": _riemann(0.5),
    "riemann_trapezoid": _trapezoid,
}


def points_between(
    starts: Sequence[Tensor], ends: Sequence[Tensor], alphas: Sequence[float]
) -> list[Tensor]:
    """Return copies of a batch, each part of the way from its start to its end."""
    return [
        torch.cat([start + alpha * (end.detach() - start) for alpha in alphas])
        for start, end in zip(starts, ends, strict=True)
    ]


def weighted_copies(values: Tensor, weights: Sequence[float]) -> Tensor:
    """Return the weighted sum of copies of a batch, in single precision or higher."""
    blocks = in_single(as_copies(values, len(weights)))
    factors = torch.tensor(weights, dtype=blocks.dtype, device=blocks.device)
    return torch.tensordot(factors, blocks, 1)


def as_copies(values: Tensor, copies: int) -> Tensor:
    """Return the rows of copies of a batch as `(copies, rows, ...)`.

    >>> as_copies(torch.arange(4), 2).tolist()
    [[0, 1], [2, 3]]
    """
    return values.reshape(copies, len(values) // copies, *values.shape[1:])

"""Noisy linear imputation: removed pixels become what their neighbours predict.

Rong et al. 2022, arXiv:2202.00449: each removed pixel equals the mean of its eight neighbours, the
four direct ones weighted by 1/6 and the diagonal ones by 1/12, over those that exist.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from torchattr.errors import InputError

DIAGONAL = 1 / 12
"""The weight of a diagonal neighbour; that of a direct one is twice as much."""

DAMPING = 0.8
COARSEST = 4


def imputed(pictures: Tensor, removed: Tensor, tolerance: float = 1e-10) -> Tensor:
    """Return pictures whose removed pixels are solved from the others, without noise.

    Times its number of neighbours, each equation is a row of a symmetric positive definite system,
    which conjugate gradients solve for all pictures at once, in double precision.

    Args:
        pictures: `(N, C, h, w)`.
        removed: which pixels to solve for, bools `(N, 1, h, w)`.
        tolerance: the residual's norm, as a share of the right-hand side's.

    Raises:
        InputError: all pixels of a picture are removed.

    >>> picture = torch.tensor([[[[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [1.0, 2.0, 3.0]]]])
    >>> hole = torch.zeros(1, 1, 3, 3, dtype=torch.bool)
    >>> hole[0, 0, 0, 1] = True
    >>> imputed(picture, hole)[0, 0, 0].tolist()
    [1.0, 1.0, 3.0]
    """
    if not removed.any():
        return pictures.detach().clone()
    if bool(removed.flatten(1).all(1).any()):
        raise InputError("all pixels of a picture are removed, so that nothing predicts them")
    known = pictures.detach().double().masked_fill(removed, 0)
    unknown = removed.double()
    found = _solved(_neighbours(known) * unknown, _Equations(unknown), tolerance)
    return torch.where(removed, found.to(pictures.dtype), pictures.detach())


class _Equations:
    """The system `degree · u - neighbours(u) = right` on the unknown pixels, and coarser ones.

    Values and right-hand sides are 0 on the known pixels.

    Args:
        unknown: 1 for each unknown pixel, 0 for others, `(N, 1, h, w)`.
    """

    def __init__(self, unknown: Tensor) -> None:
        self._unknown = unknown
        self._degree = _neighbours(torch.ones_like(unknown[:1]))
        self._step = DAMPING * unknown / self._degree
        coarse = (
            unknown if min(unknown.shape[2:]) <= COARSEST else (_pooled(unknown) == 4).to(unknown)
        )
        self._coarse = _Equations(coarse) if coarse is not unknown and coarse.any() else None

    def applied(self, values: Tensor) -> Tensor:
        """Return the left-hand side."""
        return torch.addcmul(-_neighbours(values), self._degree, values).mul_(self._unknown)

    def relaxed(self, right: Tensor) -> Tensor:
        """Return an approximate solution: one cycle of multigrid, a symmetric operator.

        Brandt 1977. Damped Jacobi steps smooth the error, and a grid of half the resolution finds
        what is left of it.
        """
        first = self._step * right
        found = self._smoothed(first, first)
        if self._coarse is not None:
            below = self._coarse.relaxed(
                _pooled(right - self.applied(found)) * self._coarse._unknown
            )
            height, width = found.shape[2:]
            spread = interpolate(below, scale_factor=2)[..., :height, :width]
            found.addcmul_(spread, self._unknown)
        return self._smoothed(self._smoothed(found, first), first)

    def _smoothed(self, found: Tensor, first: Tensor) -> Tensor:
        """Return values after a Jacobi step, whose first one from zeros is `first`."""
        # The degree cancels in `found + step · (right - degree · found + neighbours)`.
        return _neighbours(found).mul_(self._step).add_(first).add_(found, alpha=1 - DAMPING)


def _solved(right: Tensor, equations: _Equations, tolerance: float) -> Tensor:
    """Return the solution by conjugate gradients (Hestenes and Stiefel 1952), preconditioned."""
    solution, residual = torch.zeros_like(right), right
    direction = scaled = equations.relaxed(residual)
    product = _inner(residual, scaled)
    limit = tolerance * right.flatten(2).norm(dim=2)
    # In exact arithmetic, as many steps as unknowns; some dozens are enough.
    for _ in range(right[0, 0].numel()):
        applied = equations.applied(direction)
        step = _ratio(product, _inner(direction, applied))
        solution.addcmul_(step, direction)
        residual = residual - step * applied
        if bool((residual.flatten(2).norm(dim=2) <= limit).all()):
            break
        scaled = equations.relaxed(residual)
        before, product = product, _inner(residual, scaled)
        direction = torch.addcmul(scaled, _ratio(product, before), direction)
    return solution


def _pooled(values: Tensor) -> Tensor:
    """Return the sums of squares of four pixels."""
    height, width = values.shape[2:]
    even = pad(values, (0, width % 2, 0, height % 2))
    return avg_pool2d(even, 2, divisor_override=1)


def _neighbours(values: Tensor) -> Tensor:
    """Return the weighted sum of each pixel's neighbours."""
    # The kernel (1, 2, 1) in both directions, times 1/12, has 4/12 in the middle.
    rows = 2 * values
    rows[..., 1:, :] += values[..., :-1, :]
    rows[..., :-1, :] += values[..., 1:, :]
    both = 2 * rows
    both[..., 1:] += rows[..., :-1]
    both[..., :-1] += rows[..., 1:]
    return both.sub_(values, alpha=4).mul_(DIAGONAL)


def _inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((2, 3), keepdim=True)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """Return the quotient, or 0 where a system is solved already."""
    return torch.where(b > 0, a / b, 0)

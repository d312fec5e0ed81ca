"""KernelSHAP's regression: the additive game that is closest to the scores of coalitions."""

from __future__ import annotations

import torch
from torch import Tensor

from torchattr.methods._perturbation.checked import check_fitted


def shapley_regression(
    kept: Tensor, values: Tensor, empty: Tensor, full: Tensor, members: Tensor
) -> Tensor:
    """Return the least-squares solution `φ` of `z·φ ≈ s(x_z) − s(x_∅)` with `Σ φ = s(x) − s(x_∅)`.

    The sum is exact. Of several solutions it is the shortest.

    Args:
        kept: whether each coalition z keeps each feature, `(coalitions, N or 1, features)`.
        values: their scores, `(coalitions, rows, targets)`.
        empty: the score of the coalition of none, `(rows, targets)`.
        full: the score of all features, `(rows, targets)`.
        members: whether each example has each feature, `(N or 1, features)`.

    Returns:
        `(features, rows, targets)`.

    Raises:
        OutputError: a score is NaN or infinite.
    """
    check_fitted(torch.cat([values, empty[None], full[None]]))
    table, total, rises = (part.cpu().double() for part in (kept, full - empty, values - empty))
    if table.shape[1] == 1 == len(members):
        solved = _solved(table[:, 0], rises.flatten(1), total.flatten())
        return solved.reshape(-1, *total.shape).to(values)
    result = torch.zeros(members.shape[1], *total.shape, dtype=torch.float64)
    for row in range(len(total)):
        own = members[row % len(members)]
        z = table[:, row % table.shape[1], own]
        result[own, row] = _solved(z, rises[:, row], total[row])
    return result.to(values)


def _solved(z: Tensor, rises: Tensor, total: Tensor) -> Tensor:
    """Solve for one table of coalitions `(coalitions, features)` and several scores `(..., k)`."""
    features = z.shape[1]
    share = total / features
    if not len(z):
        return share.expand(features, -1)
    # What is left after equal shares sums to zero: that leaves the part across the diagonal.
    across = z - z.mean(1, keepdim=True)
    left = rises - z.sum(1, keepdim=True) * share
    return share + torch.linalg.lstsq(across, left, driver="gelsd").solution

"""Ranks and correlations along the last dimension."""

from __future__ import annotations

from itertools import permutations
from math import ceil, sqrt
from statistics import NormalDist
from typing import Literal, get_args

import torch
from torch import Tensor

from torchattr.core.rounding import unit
from torchattr.errors import InputError

Correlation = Literal["pearson", "spearman"]

COUNTED = 7
"""The number of elements up to which all their orders are counted."""


def midranks(values: Tensor) -> Tensor:
    """Return the rank of each element from 1 on; equal ones get the mean of theirs.

    >>> midranks(torch.tensor([[3.0, 1.0, 3.0]])).tolist()
    [[2.5, 1.0, 2.5]]
    """
    ordered, places = values.sort(dim=-1)
    starts = torch.ones_like(ordered, dtype=torch.long)
    starts[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    # Equal values are a run, which has a number, a length and an end.
    runs = starts.cumsum(-1) - 1
    lengths = torch.zeros_like(runs).scatter_add_(-1, runs, torch.ones_like(runs))
    middles = lengths.cumsum(-1).double() - (lengths.double() - 1) / 2
    return torch.empty_like(middles).scatter_(-1, places, middles.gather(-1, runs))


def correlation(a: Tensor, b: Tensor, kind: Correlation) -> tuple[Tensor, Tensor]:
    """Return the correlation of two sets of values, and where it is defined: neither is constant.

    Args:
        a: `(..., n)`.
        b: values that broadcast to them.
        kind: of the values (`"pearson"`) or of their ranks (`"spearman"`).
    """
    a, b = torch.broadcast_tensors(a.double(), b.double())
    # Before they are centred, after which equal values may differ by rounding.
    varied = has_order(a) & has_order(b)
    if kind == "spearman":
        a, b = midranks(a), midranks(b)
    a, b = (one - one.mean(-1, keepdim=True) for one in (a, b))
    found = (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))
    return found.clamp(-1, 1), varied


def chance_correlation(count: int, level: float) -> float:
    """Return the magnitude within which the rank correlation of unrelated values lies by chance.

    That of two random orders of `count` elements, in a share `level` of cases: the exact quantile
    of few elements, the normal one of its limit, with variance `1 / (count - 1)`, of more.

    >>> [round(chance_correlation(count, 0.95), 2) for count in (4, 6, 20)]
    [1.0, 0.83, 0.45]
    """
    if count > COUNTED:
        return NormalDist().inv_cdf((1 + level) / 2) / sqrt(count - 1)
    orders = torch.tensor(list(permutations(range(count))), dtype=torch.float64)
    sizes = correlation(orders, orders[0], "spearman")[0].abs().sort().values
    return float(sizes[ceil(level * len(sizes)) - 1])


def correlation_of_features(
    worth: Tensor, changes: Tensor, members: Tensor, kind: Correlation
) -> tuple[Tensor, Tensor]:
    """Return the correlation over each example's features, and where it is defined, `(N, targets)`.

    Args:
        worth: what each feature is said to be worth, `(targets or 1, N, features)`.
        changes: what it changes, `(N, targets, features)`.
        members: whether each example has each feature, `(N or 1, features)`.
        kind: see :func:`correlation`.
    """
    pairs = [
        correlation(worth[:, row, own], changes[row][:, own], kind)
        for row, own in enumerate(members.to(worth.device).expand(len(changes), -1))
    ]
    found, is_defined = zip(*pairs, strict=True)
    return torch.stack(found), torch.stack(is_defined)


def check_correlation(kind: str) -> None:
    """Check the name of a correlation.

    Raises:
        InputError: it is unknown.
    """
    if kind not in get_args(Correlation):
        raise InputError(f"correlation must be 'pearson' or 'spearman', got {kind!r}")


def has_order(values: Tensor, present: Tensor | None = None, additions: Tensor | int = 0) -> Tensor:
    """Whether values along the last dimension differ by more than rounding: others have no ranks.

    Args:
        values: `(..., n)`, finite where they count.
        present: which of them count; `None` means all.
        additions: how many roundings the values have by the sums that they come from.

    >>> has_order(torch.tensor([[0.1, 0.1], [0.1, 0.2]])).tolist()
    [False, True]
    """
    low, high = values, values
    if present is not None:
        low, high = (values.masked_fill(~present, bound) for bound in (torch.inf, -torch.inf))
    low, high = low.amin(-1), high.amax(-1)
    size = torch.maximum(low.abs(), high.abs())
    return high - low > (4 + additions) * unit(values) * size

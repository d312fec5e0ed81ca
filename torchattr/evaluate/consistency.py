"""Consistency: whether equal explanations come with equal predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.evaluate.measured_maps import undefined

Discretise = Callable[[Tensor], Tensor]


def consistency(
    attributions: Any, predictions: Any, *, discretise: Discretise | None = None, k: int = 5
) -> Tensor:
    """Measure how often examples of the same explanation have the same prediction.

    `P(ŷ_j = ŷ_i | e_j = e_i, j ≠ i)`, one value for each example, 0 to 1; the higher, the better.
    Dasgupta, Frost and Moshkovitz 2022, arXiv:2202.00734. Explanations of real numbers are hardly
    ever equal, so they are made discrete first: by default into the `k` elements of the largest
    magnitude, with their signs.

    It depends on how explanations are made discrete, and is *not* evidence that they are right: one
    that tells the prediction and nothing else is consistent.

    Quantus 0.6 compares the signs of the *first* five elements, which are all positive for
    magnitudes, and gives 0 to explanations that no other example shares.

    Args:
        attributions: of each example, `(N, ...)`.
        predictions: the predicted class of each example, `(N,)`.
        discretise: returns discrete explanations `(N, ...)` from attributions `(N, elements)`.
        k: number of elements that count without `discretise`.

    Returns:
        `(N,)`; NaN with a warning for explanations that no other example shares.

    Raises:
        InputTypeError: no tensors, or something else than integers as predictions.
        ShapeError: not one row of each for each example.
        InputError: attributions that are not finite, `k` out of range.

    >>> maps = torch.tensor([[3.0, 0.1], [5.0, 0.2], [4.0, 0.3]])
    >>> consistency(maps, torch.tensor([0, 0, 1]), k=1).tolist()
    [0.5, 0.5, 0.0]
    """
    rows = _as_rows(attributions)
    labels = _as_labels(predictions, rows)
    found = _top_signs(rows, k) if discretise is None else discretise(rows)
    if not isinstance(found, Tensor) or len(found) != len(rows):
        raise ShapeError(f"discretise must return a tensor of {len(rows)} rows")
    numbers = found.reshape(len(rows), -1).unique(dim=0, return_inverse=True)[1]
    others = ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    alike = (numbers[:, None] == numbers) & others
    agreeing = (alike & (labels[:, None] == labels)).sum(1)
    values = agreeing / alike.sum(1).double()
    because = "no other example has the same explanation"
    return undefined(values, alike.any(1), "consistency", because)


def _top_signs(rows: Tensor, k: int) -> Tensor:
    """Return the signs of the `k` elements of the largest magnitude, and 0 for the others."""
    if not 1 <= k <= rows.shape[1]:
        raise InputError(f"k must be from 1 to {rows.shape[1]}, the elements of a map, got {k}")
    order = rows.abs().argsort(dim=1, descending=True, stable=True)[:, :k]
    signs = torch.zeros_like(rows)
    return signs.scatter_(1, order, rows.gather(1, order).sign())


def _as_rows(attributions: Any) -> Tensor:
    found = torch.as_tensor(attributions) if not isinstance(attributions, Tensor) else attributions
    if found.dim() < 2 or not found.numel():
        raise ShapeError(
            "attributions must have at least one row (N, ...), one for each example, got"
            f" {tuple(found.shape)}"
        )
    if not torch.isfinite(found).all():
        raise InputError("attributions holds NaN or infinite values, which cannot be compared")
    return found.detach().double().flatten(1)


def _as_labels(predictions: Any, rows: Tensor) -> Tensor:
    labels = torch.as_tensor(predictions).to(rows.device)
    if labels.is_floating_point():
        raise InputTypeError(
            f"predictions must be class indices, got {labels.dtype}; pass scores.argmax(1)"
        )
    if labels.shape != (len(rows),):
        raise ShapeError(
            f"predictions must have the shape ({len(rows)},), got {tuple(labels.shape)}"
        )
    return labels

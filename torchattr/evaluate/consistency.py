"""Consistency: whether equal explanations come with equal predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.evaluate.measured_maps import as_tensor, undefined
from torchattr.evaluate.ranks import has_order
from torchattr.methods import checked_count

Discretise = Callable[[Tensor], Tensor]


def consistency(
    attributions: Any, predictions: Any, *, discretise: Discretise | None = None, k: int = 5
) -> Tensor:
    """Measure how often examples of the same explanation have the same prediction.

    `P(ŷ_j = ŷ_i | e_j = e_i, j ≠ i)`, one value for each example, 0 to 1; the higher, the better.
    Dasgupta, Frost and Moshkovitz 2022, arXiv:2202.00734. Explanations of real numbers are hardly
    ever equal, so they are made discrete first: by default into the `k` elements of the largest
    magnitude, and those that equal the last of them, with their signs. Maps of one magnitude, such
    as constant ones, have no such elements and are nobody's equals.

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
        `(N,)`; NaN with a warning for explanations that no other example shares, and for constant
        maps.

    Raises:
        InputTypeError: no tensors or arrays of numbers, or something else than integers as
            predictions.
        ShapeError: not one row of each for each example.
        InputError: attributions that are not finite, `k` out of range.

    >>> maps = torch.tensor([[3.0, 0.1], [5.0, 0.2], [4.0, 0.3]])
    >>> consistency(maps, torch.tensor([0, 0, 1]), k=1).tolist()
    [0.5, 0.5, 0.0]
    """
    rows = _as_rows(attributions)
    labels = _as_labels(predictions, rows)
    has_top = torch.ones_like(labels, dtype=torch.bool)
    if not (discretise is None or callable(discretise)):
        raise InputTypeError(f"discretise must be a function of a tensor, got {discretise!r}")
    if discretise is None:
        found, has_top = _top_signs(rows, k)
    else:
        found = discretise(rows)
    if not isinstance(found, Tensor) or len(found) != len(rows):
        raise ShapeError(f"discretise must return a tensor of {len(rows)} rows")
    numbers = found.reshape(len(rows), -1).unique(dim=0, return_inverse=True)[1]
    others = ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    alike = (numbers[:, None] == numbers) & others & has_top & has_top[:, None]
    agreeing = (alike & (labels[:, None] == labels)).sum(1)
    values = agreeing / alike.sum(1).double()
    is_shared = alike.any(1)
    reasons = {
        "the map is constant": ~has_top,
        "no other example has the same explanation": has_top & ~is_shared,
    }
    because = " or ".join(reason for reason, rows in reasons.items() if rows.any())
    return undefined(values, is_shared, "consistency", because)


def _top_signs(rows: Tensor, k: Any) -> tuple[Tensor, Tensor]:
    """Return the signs of the elements of the largest magnitude, and which rows have such.

    The signs of the other elements are 0. Where all elements count, they need no order.
    """
    size = rows.shape[1]
    if checked_count(k, "k") > size:
        raise InputError(f"k must be from 1 to {size}, the elements of a map, got {k}")
    magnitudes = rows.abs()
    least = magnitudes.kthvalue(size + 1 - k, dim=1, keepdim=True).values
    has_top = has_order(magnitudes) if k < size else magnitudes.isfinite().all(1)
    return rows.sign() * (magnitudes >= least), has_top


def _as_rows(attributions: Any) -> Tensor:
    found = as_tensor(attributions, "attributions")
    if found.dim() < 2 or not found.numel():
        raise ShapeError(
            "attributions must have at least one row (N, ...), one for each example, got"
            f" {tuple(found.shape)}"
        )
    if not torch.isfinite(found).all():
        raise InputError("attributions holds NaN or infinite values, which cannot be compared")
    return found.detach().double().flatten(1)


def _as_labels(predictions: Any, rows: Tensor) -> Tensor:
    labels = as_tensor(predictions, "predictions").to(rows.device)
    if labels.is_floating_point() or labels.is_complex():
        raise InputTypeError(
            f"predictions must be class indices, got {labels.dtype}; pass scores.argmax(1)"
        )
    if labels.shape != (len(rows),):
        raise ShapeError(
            f"predictions must have the shape ({len(rows)},), got {tuple(labels.shape)}"
        )
    return labels

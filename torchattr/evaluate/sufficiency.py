"""Sufficiency: whether examples of similar maps have the same class."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.evaluate.measured_maps import as_maps, undefined


def sufficiency(maps: Any, labels: Any, *, threshold: float = 0.6) -> Tensor:
    """Measure for each example the share of those with similar maps that have its class.

    `P_j(c_j = c_i | ‖â_j - â_i‖ ≤ threshold)` over all other examples `j`, where `â` are maps
    scaled to the norm 1; 0 to 1; the higher, the better: a map that is the reason for a class
    should not come with another one. Dasgupta, Frost and Moshkovitz 2022, arXiv:2202.00734, for
    whom two maps are the same explanation or not.

    It does *not* run the model, and does *not* tell whether a map is right: the mask of the object
    as a map is sufficient, whatever the model used. With few examples, few are similar.

    Quantus 0.6 divides by each pixel's variance over the batch, so that similarity depends on it,
    and returns 0 where no other map is similar.

    Args:
        maps: `(N, h, w)`, or `(N, C, h, w)`, whose channels are summed first.
        labels: the class of each by the model, `(N,)`.
        threshold: the largest distance of similar maps, 0 to 2.

    Returns:
        `(N,)`; NaN with a warning where no other map is similar, or a map is 0 everywhere.

    Raises:
        InputTypeError, ShapeError: no maps, or not one label for each.
        InputError: values that are not finite, or a threshold out of range.

    >>> import torch
    >>> maps = torch.tensor([[[1.0, 0.0]], [[2.0, 0.0]], [[3.0, 0.1]], [[0.0, 1.0]], [[0.0, 3.0]]])
    >>> sufficiency(maps, [0, 0, 1, 2, 2]).tolist()
    [0.5, 0.5, 0.0, 1.0, 1.0]
    """
    found = as_maps(maps).flatten(1)
    classes = _as_labels(labels, found)
    if not 0 <= threshold <= 2:
        raise InputError(f"threshold must be from 0 to 2, got {threshold}")
    sizes = found.norm(dim=1, keepdim=True)
    scaled = found / sizes.clamp(min=torch.finfo(found.dtype).tiny)
    present = sizes[:, 0] > 0
    # Not by products, which lose what is small next to 1.
    distances = torch.cdist(scaled, scaled, compute_mode="donot_use_mm_for_euclid_dist")
    similar = (distances <= threshold) & present & present[:, None]
    similar.fill_diagonal_(False)
    count = similar.sum(1).double()
    share = (similar & (classes == classes[:, None])).sum(1) / count
    return undefined(share, count > 0, "sufficiency", "no other map is similar")


def _as_labels(labels: Any, maps: Tensor) -> Tensor:
    try:
        found = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputTypeError(f"labels must hold a class for each map, got {labels!r}") from error
    if found.shape != maps.shape[:1]:
        raise ShapeError(
            f"labels must hold one class for each of {len(maps)} maps, got the shape"
            f" {tuple(found.shape)}"
        )
    return found.to(maps.device)

"""Complexity: whether a map is on few elements, as a reader can take in."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchattr.core.checked_numbers import as_number
from torchattr.errors import InputError
from torchattr.evaluate.measured_maps import as_maps, undefined


def gini_index(maps: Any) -> Tensor:
    """Measure how sparse maps are: `Σ (2i - n - 1) a_(i) / (n Σ a)` of the sorted `a = |map|`.

    One value for each map, from 0 (all elements equal) to `1 - 1/n` (a single one); the higher, the
    sparser. Chalasani et al. 2020, arXiv:1810.06583, who find robust networks' maps sparser.

    It is *not* about truth: a single wrong pixel is as sparse as can be.

    Quantus 0.6 adds 1e-7 to each element first.

    Args:
        maps: `(N, h, w)`, or `(N, C, h, w)`, whose channels are summed first.

    Returns:
        `(N,)`; NaN with a warning for maps of zeros, which have no shares.

    Raises:
        InputTypeError, ShapeError, InputError: no maps, or values that are not finite.

    >>> import torch
    >>> gini_index(torch.tensor([[[0.0, 0.0], [0.0, 4.0]], [[1.0, 1.0], [1.0, 1.0]]])).tolist()
    [0.75, 0.0]
    """
    sizes = as_maps(maps).abs().flatten(1).sort(dim=1).values
    n = sizes.shape[1]
    ranks = torch.arange(1, n + 1, dtype=sizes.dtype, device=sizes.device)
    total = sizes.sum(1)
    found = (sizes * (2 * ranks - n - 1)).sum(1) / (n * total)
    return undefined(found, total > 0, "gini_index", "all elements are 0")


def entropy(maps: Any) -> Tensor:
    """Measure how spread maps are: `-Σ p ln p` of the shares `p = |map| / Σ |map|`, in nats.

    One value for each map, from 0 (a single element) to `ln n` (all equal); the lower, the simpler.
    Bhatt, Weller and Moura 2020, arXiv:2005.00631, as "complexity".

    It is *not* about truth, and depends on the resolution: compare maps of one size.

    Quantus 0.6 adds 1e-12 in the logarithm.

    Arguments, what comes back and errors are those of :func:`gini_index`.

    >>> import torch
    >>> entropy(torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])).exp().round(decimals=6).tolist()
    [2.0]
    """
    sizes = as_maps(maps).abs().flatten(1)
    total = sizes.sum(1)
    shares = sizes / total[:, None]
    return undefined(torch.special.entr(shares).sum(1), total > 0, "entropy", "all elements are 0")


def effective_complexity(maps: Any, threshold: float = 1e-5) -> Tensor:
    """Count the elements that matter: those with `|map| > threshold`.

    One number for each map, 0 to n; the lower, the simpler. After Nguyen and Martínez 2020,
    arXiv:2007.07584, who count the features that are needed to keep the score.

    It is *not* free of scale: maps that differ by a factor have different counts, so give a
    threshold that fits, such as a share of the largest value. Quantus 0.6 divides maps by the
    largest element of the batch first, so that the count of an example depends on the others.

    Args:
        maps: as for :func:`gini_index`.
        threshold: elements up to this count as none.

    Raises:
        InputTypeError, ShapeError, InputError: as for :func:`gini_index`; a negative threshold.

    >>> import torch
    >>> effective_complexity(torch.tensor([[[0.0, 1e-9], [-2.0, 3.0]]])).tolist()
    [2]
    """
    threshold = as_number(threshold, "threshold")
    if not threshold >= 0:
        raise InputError(f"threshold must be at least 0, got {threshold}")
    return (as_maps(maps).abs() > threshold).flatten(1).sum(1)

"""Pixel flipping and its relatives: how the score falls as the parts a map favours are replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchattr.core.types import Forward, Tensors
from torchattr.evaluate.blocks import as_pictures, blocks
from torchattr.evaluate.curves import Curve, counts_at, curve_of
from torchattr.evaluate.deletions import DeletionOptions, Deletions
from torchattr.evaluate.measured_maps import undefined
from torchattr.evaluate.ranked_masks import Ranking
from torchattr.methods import checked_count

if TYPE_CHECKING:
    from typing_extensions import Unpack


def pixel_flipping(
    model: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: Any = None,
    *,
    steps: float = 100,
    order: Ranking = "most",
    **options: Unpack[DeletionOptions],
) -> Curve:
    """Measure how the raw score falls as pixels are replaced, those of largest attribution first.

    `s(x with the first k pixels ← b)`. Bach et al. 2015, doi:10.1371/journal.pone.0130140. The
    faster it falls, the better: the smaller :attr:`Curve.auc` and the larger :attr:`Curve.aopc`, in
    the units of the score. It is :func:`torchattr.evaluate.deletion_curve` of raw scores; what it
    is *not*, arguments, NaN and errors are those of that function.

    Quantus 0.6 replaces elements of single channels, one at a time by default, and leaves out the
    score of the whole picture.

    >>> import torch
    >>> x, weights = torch.ones(1, 3), torch.tensor([[3.0, 1.0, 2.0]])
    >>> pixel_flipping(lambda x: x @ weights.T, x, weights).scores
    tensor([[6., 3., 1., 0.]])
    """
    deletions = Deletions(model, inputs, attributions, target, **options)
    counts = counts_at(deletions, steps)
    return curve_of(deletions, "deletion", order, counts, "pixel_flipping")


def region_perturbation(
    model: Forward,
    inputs: Tensor,
    attributions: Tensor,
    target: Any = None,
    *,
    size: int | tuple[int, int] = 9,
    regions: int = 100,
    order: Ranking = "most",
    **options: Unpack[DeletionOptions],
) -> Curve:
    """Measure how the score falls as regions are replaced by noise, one after another.

    `s(x_k)`, where `x_k` has the first `k` regions of a grid replaced, `k` from 0 to `regions`;
    :attr:`Curve.aopc` is `1 / (L + 1) Σ_k (s(x_0) - s(x_k))`. Samek et al. 2017, arXiv:1509.06321.
    With `order="most"` ("MoRF") the larger it is, the better, in the units of the score; with
    `"least"` ("LeRF") the smaller; :func:`torchattr.evaluate.both_orders` measures the two.

    It is *not* independent of what replaces the regions, nor of their size. The paper draws the
    noise ten times: pass `baselines=torchattr.evaluate.uniform_noise(x, seed)` for other draws.

    A region's worth is the mean of its attributions, as in the paper for regions of one size;
    those cut off at the border count the same. Quantus 0.6 replaces regions of 8 pixels by black,
    ranks them by sums, and leaves out `k = 0`.

    Args:
        model: as for every method.
        inputs: pictures `(N, C, h, w)`.
        attributions: as for :func:`torchattr.evaluate.deletion_curve`.
        target: as for every method.
        size: the side of a region in pixels, or its height and width.
        regions: how many are replaced at most.
        order: as for that function.
        options: see :class:`torchattr.evaluate.DeletionOptions`; raw scores, `"uniform"` noise. A
            `feature_mask` has other regions than those of a grid.

    Returns, and raises: as for that function.

    >>> import torch
    >>> x, weights = torch.ones(1, 1, 2, 4), torch.arange(8.0).reshape(1, 1, 2, 4)
    >>> options = {"size": 2, "regions": 1, "baselines": 0}
    >>> region_perturbation(lambda x: (x * weights).sum((2, 3)), x, weights, **options).aopc
    tensor([9.])
    """
    checked_count(regions, "regions")
    deletions = _of_blocks(model, inputs, attributions, target, size, "uniform", options)
    return _one_by_one(deletions, "region_perturbation", order, regions)


def selectivity(
    model: Forward,
    inputs: Tensor,
    attributions: Tensor,
    target: Any = None,
    *,
    size: int | tuple[int, int] = 8,
    **options: Unpack[DeletionOptions],
) -> Tensor:
    """Measure the area below the score as all patches are removed, the most relevant first.

    `∫ s(x with the first q of the patches ← b) dq` by the trapezoidal rule, in the units of the
    score; the lower, the better. Montavon, Samek and Müller 2018, arXiv:1706.07979. It is *not*
    comparable between models, whose scores have other units, nor between baselines.

    Quantus 0.6 leaves out the score of the whole picture, and adds up areas of steps of width 1.

    Args:
        model: as for every method.
        inputs: pictures `(N, C, h, w)`.
        attributions: as for :func:`torchattr.evaluate.deletion_curve`.
        target: as for every method.
        size: the side of a patch in pixels, or its height and width.
        options: see :class:`torchattr.evaluate.DeletionOptions`; raw scores, and 0 as baseline.

    Returns:
        `(N,)`, or `(N, targets)` for several targets; NaN with a warning where all patches are said
        to be worth the same.

    Raises:
        ShapeError, InputTypeError, InputError, OutputError: as for that function.

    >>> import torch
    >>> x, weights = torch.ones(1, 1, 2, 4), torch.arange(8.0).reshape(1, 1, 2, 4)
    >>> selectivity(lambda x: (x * weights).sum((2, 3)), x, weights, size=2)
    tensor([12.])
    """
    deletions = _of_blocks(model, inputs, attributions, target, size, 0, options)
    return _one_by_one(deletions, "selectivity").auc


def irof(
    model: Forward,
    inputs: Tensor,
    attributions: Tensor,
    target: Any = None,
    *,
    size: int | tuple[int, int] = 16,
    **options: Unpack[DeletionOptions],
) -> Tensor:
    """Measure the area over the relative score as segments are removed, the most relevant first.

    `1 - ∫ s(x with the first q of the segments ← mean) / s(x) dq`, at most 1; the higher, the
    better. Rieger and Hansen 2020, arXiv:2003.08747 ("iterative removal of features"), who use
    superpixels: pass `feature_mask=torchattr.evaluate.superpixels(x)`. Without a mask, the segments
    are blocks.

    It is *not* independent of the segmentation: large segments that hold the object favour every
    map.

    Quantus 0.6 leaves out the whole picture, and measures areas in numbers of segments.

    Args:
        model: as for every method.
        inputs: pictures `(N, C, h, w)`.
        attributions: as for :func:`torchattr.evaluate.deletion_curve`.
        target: as for every method.
        size: the side of a block in pixels, or its height and width.
        options: see :class:`torchattr.evaluate.DeletionOptions`; a softmax, and each channel's mean
            as baseline.

    Returns:
        `(N,)`, or `(N, targets)` for several targets; NaN with a warning where the score of the
        whole picture is not positive, or all segments are said to be worth the same.

    Raises:
        ShapeError, InputTypeError, InputError, OutputError: as for that function.

    >>> import torch
    >>> x, weights = torch.ones(1, 1, 2, 4), torch.arange(8.0).reshape(1, 1, 2, 4)
    >>> options = {"size": 2, "activation": "none", "baselines": 0}
    >>> irof(lambda x: (x * weights).sum((2, 3)), x, weights, **options)
    tensor([0.5714])
    """
    settled: DeletionOptions = {"activation": "softmax", **options}
    deletions = _of_blocks(model, inputs, attributions, target, size, "mean", settled)
    curve = _one_by_one(deletions, "irof")
    whole = curve.scores[..., 0]
    because = "the score of the whole picture is not positive"
    # Maps without an order are NaN already, with their own warning.
    return undefined(1 - curve.auc / whole, ~(whole <= 0), "irof", because)


def _of_blocks(
    model: Forward,
    inputs: Any,
    attributions: Any,
    target: Any,
    size: Any,
    baselines: Any,
    options: DeletionOptions,
) -> Deletions:
    """Return deletions of blocks, by defaults that the options override."""
    pictures = as_pictures(inputs, "inputs")
    settled: DeletionOptions = {
        "baselines": baselines,
        "feature_mask": blocks(pictures, size),
        **options,
    }
    return Deletions(model, pictures, attributions, target, **settled)


def _one_by_one(
    deletions: Deletions, metric: str, first: Ranking = "most", most: int | None = None
) -> Curve:
    """Return the curve with a step for each feature, until an example has no more.

    Args:
        deletions: the batch and what is measured.
        metric: its name.
        first: which features come first.
        most: maximum number of steps.
    """
    sizes = deletions.sizes
    steps = torch.arange(int(sizes.max()) + 1)[: None if most is None else most + 1]
    counts = torch.minimum(steps[:, None], sizes)
    return curve_of(deletions, "deletion", first, counts, metric)

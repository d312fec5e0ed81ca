"""Faithfulness: whether the score falls by what a map says that features are worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchattr.core.arguments import plain_numbers
from torchattr.core.checked_numbers import as_list
from torchattr.core.types import Forward, Tensors
from torchattr.errors import InputError, InputTypeError
from torchattr.evaluate.deletions import DeletionOptions, Deletions
from torchattr.evaluate.measured_maps import undefined
from torchattr.evaluate.ranks import Correlation, check_correlation, correlation_of_features
from torchattr.evaluate.ranks import correlation as _correlation
from torchattr.methods import ListedCoalitions, SeededDraws, checked_count, checked_seed

if TYPE_CHECKING:
    from typing_extensions import Unpack

Size = int | float
"""A number of features, or as a float below 1 the share of all."""


def single_deletion(
    model: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: Any = None,
    *,
    correlation: Correlation = "spearman",
    **options: Unpack[DeletionOptions],
) -> Tensor:
    """Correlate what each feature is said to be worth with what the score loses without it.

    `corr_i(Σ a of feature i, s(x) - s(x with feature i ← b))`, one value for each example, -1 to 1;
    the higher, the better. With ranks it is the single-deletion protocol of Hesse, Schaub-Meyer and
    Roth 2024, arXiv:2407.11910 ("IDSDS"), who fine-tune the model on pictures with such holes.

    It does *not* see what features do together, and is *not* independent of the baseline: a model
    that has never seen such holes may lose its score for that alone.

    Args:
        model: as for every method.
        inputs: as for every method.
        attributions: as for :func:`torchattr.evaluate.deletion_curve`.
        target: as for every method.
        correlation: of ranks (`"spearman"`) or of the values themselves (`"pearson"`).
        options: see :class:`torchattr.evaluate.DeletionOptions`; raw scores, and 0 as baseline.

    Returns:
        `(N,)`, or `(N, targets)` for several targets; NaN with a warning where all features are
        said to be worth the same, or the score loses the same without each.

    Raises:
        ShapeError, InputTypeError, InputError, OutputError: as for that function.

    >>> import torch
    >>> x, weights = torch.ones(1, 3), torch.tensor([[3.0, 1.0, 2.0]])
    >>> single_deletion(lambda x: x @ weights.T, x, weights).round(decimals=6).tolist()
    [1.0]
    """
    check_correlation(correlation)
    deletions = Deletions(model, inputs, attributions, target, **options)
    return _of_single_features(deletions, correlation, "single_deletion")


def faithfulness_estimate(
    model: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: Any = None,
    **options: Unpack[DeletionOptions],
) -> Tensor:
    """Correlate, by Pearson, what each feature is said to be worth with what the score loses.

    :func:`single_deletion` with `correlation="pearson"`: Alvarez-Melis and Jaakkola 2018,
    arXiv:1806.07538. -1 to 1; the higher, the better. What it does *not* see, the arguments,
    results and errors are those of that function.

    Quantus 0.6 forms its features from neighbours in the order of the map (`features_in_step`);
    here they are places of the picture.

    >>> import torch
    >>> x, weights = torch.ones(1, 3), torch.tensor([[3.0, 1.0, 2.0]])
    >>> faithfulness_estimate(lambda x: x @ weights.T, x, weights**2).round(decimals=3).tolist()
    [0.99]
    """
    deletions = Deletions(model, inputs, attributions, target, **options)
    return _of_single_features(deletions, "pearson", "faithfulness_estimate")


def faithfulness_correlation(
    model: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: Any = None,
    *,
    subset_size: Size = 0.1,
    n_samples: int = 100,
    seed: int = 0,
    **options: Unpack[DeletionOptions],
) -> Tensor:
    """Correlate what random sets of features are said to be worth with what the score loses.

    `corr_S(Σ_{i in S} a_i, s(x) - s(x with S ← b))` over random sets of one size, Pearson's; one
    value for each example, -1 to 1; the higher, the better. Bhatt, Weller and Moura 2020,
    arXiv:2005.00631. It is one size of :func:`sensitivity_n`.

    It is *not* exact: it has the spread of `n_samples` random sets, about `1 / sqrt(n_samples)` for
    a map without relation, and is *not* independent of the baseline.

    Args:
        model: as for every method.
        inputs: as for every method.
        attributions: as for :func:`torchattr.evaluate.deletion_curve`.
        target: as for every method.
        subset_size: number of features in each set, or their share as a float below 1.
        n_samples: number of sets, 2 or more.
        seed: of the sets, which all examples of equal features share.
        options: see :class:`torchattr.evaluate.DeletionOptions`; raw scores, and 0 as baseline.

    Returns:
        `(N,)`, or `(N, targets)` for several targets; NaN with a warning where either side is the
        same for all sets.

    Raises:
        ShapeError, InputTypeError, InputError, OutputError: as for that function; a size or number
            out of range.

    >>> import torch
    >>> x, weights = torch.ones(1, 4), torch.tensor([[3.0, 1.0, 2.0, 5.0]])
    >>> found = faithfulness_correlation(lambda x: x @ weights.T, x, weights, subset_size=2)
    >>> found.round(decimals=6).tolist()
    [1.0]
    """
    sets = _Sets((subset_size,), n_samples, seed)
    return sets.correlations(model, inputs, attributions, target, options)[..., 0]


def sensitivity_n(
    model: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: Any = None,
    *,
    sizes: Sequence[Size] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8),
    n_samples: int = 100,
    seed: int = 0,
    **options: Unpack[DeletionOptions],
) -> Tensor:
    """Correlate worth and loss for random sets of several sizes.

    A method is sensitive at n where the correlation of :func:`faithfulness_correlation` is 1 for
    sets of n features; -1 to 1, the higher, the better. Ancona et al. 2018, arXiv:1711.06104. What
    it is *not*, arguments and errors are those of that function.

    Quantus 0.6 draws no sets: it removes the features in the order of the map.

    Args:
        sizes: numbers of features, or their shares as floats below 1.

    Returns:
        `(N, sizes)`, or `(N, targets, sizes)` for several targets.

    >>> import torch
    >>> x, weights = torch.ones(1, 4), torch.tensor([[3.0, 1.0, 2.0, 5.0]])
    >>> found = sensitivity_n(lambda x: x @ weights.T, x, weights, sizes=(1, 2, 3))
    >>> found.round(decimals=6).tolist()
    [[1.0, 1.0, 1.0]]
    """
    sets = _Sets(sizes, n_samples, seed)
    return sets.correlations(model, inputs, attributions, target, options)


def _of_single_features(deletions: Deletions, kind: Correlation, metric: str) -> Tensor:
    values = deletions.of(deletions.features, "Deletion")
    drops = along_last(deletions.scores.clean - values)
    found, is_defined = correlation_of_features(
        deletions.sums(), drops, deletions.features.members, kind
    )
    because = "all features are worth the same, or the score loses the same without each"
    return deletions.in_form(undefined(found, is_defined, metric, because))


class _Sets:
    """Random sets of features, of several sizes.

    Args:
        sizes: numbers of features, or their shares.
        n_samples: number of sets of each size.
        seed: of the sets.

    Raises:
        InputTypeError, InputError: a number or seed out of range.
    """

    def __init__(self, sizes: Sequence[Size], n_samples: int, seed: int) -> None:
        self._sizes = as_list(sizes, "sizes", "a sequence of numbers of features")
        self._count = checked_count(n_samples, "n_samples", 2)
        self._draws = SeededDraws([checked_seed(seed)])

    def correlations(
        self,
        model: Forward,
        inputs: Tensors,
        attributions: Tensors,
        target: Any,
        options: DeletionOptions,
    ) -> Tensor:
        """Return the correlation over the sets of each size, `(N, targets, sizes)`."""
        if not self._sizes:
            raise InputError("sizes is empty; pass at least one number of features")
        deletions = Deletions(model, inputs, attributions, target, **options)
        members = deletions.features.members
        ranks = self._draws.orders(self._count, members, deletions.inputs.batch_size)
        found = [_of_subsets(deletions, ranks < _counts(size, members)) for size in self._sizes]
        values, is_defined = (torch.stack(part, -1) for part in zip(*found, strict=True))
        because = "all sets are worth the same, or the score loses the same without each"
        return deletions.in_form(undefined(values, is_defined, "the correlation", because))


def _of_subsets(deletions: Deletions, replaced: Tensor) -> tuple[Tensor, Tensor]:
    """Return the correlation over sets of features for each example and target, where defined.

    Args:
        deletions: the batch and what is measured.
        replaced: whether each set has each feature, `(sets, N or 1, features)`.
    """
    values = deletions.of(ListedCoalitions(deletions.features, ~replaced), "Deletion")
    drops = along_last(deletions.scores.clean - values)
    sums = deletions.sums()
    sets = replaced.to(sums).expand(-1, sums.shape[1], -1)
    worth = torch.einsum("snf,tnf->nts", sets, sums)
    return _correlation(worth, drops, "pearson")


def along_last(values: Tensor) -> Tensor:
    """Return `(N, targets, copies)` from `(copies, N, targets)`."""
    return values.permute(1, 2, 0)


def _counts(size: Size, members: Tensor) -> Tensor:
    """Return how many of its features each example's sets have, `(N or 1, 1)`.

    Raises:
        InputTypeError: a size that is not a number.
        InputError: one out of range.
    """
    size = plain_numbers(size)
    if isinstance(size, bool) or not isinstance(size, (int, float)):
        raise InputTypeError(f"a size must be an int or a float, got {type(size).__name__}")
    features = members.sum(1, keepdim=True)
    least = int(features.min())
    if isinstance(size, float):
        if not 0 < size < 1:
            raise InputError(f"a size as a share must be between 0 and 1, got {size}")
        return (features * size).round().clamp(min=1).long()
    if not 1 <= size < least:
        raise InputError(f"a size must be from 1 to {least - 1} of {least} features, got {size}")
    return torch.full_like(features, size)

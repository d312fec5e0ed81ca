"""Faithfulness: whether the score falls by what a map says that features are worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr.core.rounding import unit
from torchattr.core.types import Activation, Forward, OutputKey, Tensors
from torchattr.errors import InputError, InputTypeError
from torchattr.evaluate.curves import insertion_curve
from torchattr.evaluate.deletions import Deletions
from torchattr.evaluate.measured_maps import undefined
from torchattr.evaluate.ranks import Correlation, check_correlation
from torchattr.evaluate.ranks import correlation as _correlation
from torchattr.methods import ListedCoalitions, SeededDraws, checked_count, checked_seed

Size = int | float
"""A number of features, or as a float below 1 the share of all."""


def single_deletion(
    model: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: Any = None,
    *,
    correlation: Correlation = "spearman",
    baselines: Any = 0,
    feature_mask: Tensors | None = None,
    activation: Activation = "none",
    additional_forward_args: Any = None,
    output: OutputKey = None,
    perturbations_per_eval: int | None = None,
    show_progress: bool = False,
) -> Tensor:
    """Correlate what each feature is said to be worth with what the score loses without it.

    `corr_i(Σ a of feature i, s(x) - s(x with feature i ← b))`, one value for each example, -1 to 1;
    the higher, the better. With ranks it is the single-deletion protocol of Hesse, Schaub-Meyer and
    Roth 2024, arXiv:2407.11910, who fine-tune the model on pictures with such holes; with
    `correlation="pearson"` the faithfulness estimate of Alvarez-Melis and Jaakkola 2018,
    arXiv:1806.07538.

    It does *not* see what features do together, and is *not* independent of the baseline: a model
    that has never seen such holes may lose its score for that alone.

    Args:
        correlation: of ranks (`"spearman"`) or of the values themselves (`"pearson"`).
        activation: applied to the model's scores, as in
            :func:`torchattr.evaluate.deletion_curve`, whose further arguments these are.

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
    deletions = Deletions(
        model,
        inputs,
        attributions,
        target,
        baselines=baselines,
        feature_mask=feature_mask,
        activation=activation,
        additional_forward_args=additional_forward_args,
        output=output,
        perturbations_per_eval=perturbations_per_eval,
    )
    values = deletions.of(deletions.features, _titled(show_progress))
    drops = _along_last(deletions.scores.clean - values)
    sums, members = deletions.sums(), deletions.features.members
    pairs = [
        _correlation(sums[:, row, own], drops[row][:, own], correlation)
        for row, own in enumerate(members.expand(len(drops), -1))
    ]
    found, is_defined = (torch.stack(part) for part in zip(*pairs, strict=True))
    because = "all features are worth the same, or the score loses the same without each"
    return deletions.in_form(undefined(found, is_defined, "single_deletion", because))


def faithfulness_correlation(
    model: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: Any = None,
    *,
    subset_size: Size = 0.1,
    n_samples: int = 100,
    seed: int = 0,
    baselines: Any = 0,
    feature_mask: Tensors | None = None,
    activation: Activation = "none",
    additional_forward_args: Any = None,
    output: OutputKey = None,
    perturbations_per_eval: int | None = None,
    show_progress: bool = False,
) -> Tensor:
    """Correlate what random sets of features are said to be worth with what the score loses.

    `corr_S(Σ_{i in S} a_i, s(x) - s(x with S ← b))` over random sets of one size, Pearson's; one
    value for each example, -1 to 1; the higher, the better. Bhatt, Weller and Moura 2020,
    arXiv:2005.00631. It is one size of :func:`sensitivity_n`.

    It is *not* exact: it has the spread of `n_samples` random sets, about `1 / sqrt(n_samples)` for
    a map without relation, and is *not* independent of the baseline.

    Args:
        subset_size: number of features in each set, or their share as a float below 1.
        n_samples: number of sets, 2 or more.
        seed: of the sets, which all examples of equal features share.
        activation: applied to the model's scores, as in
            :func:`torchattr.evaluate.deletion_curve`, whose further arguments these are.

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
    found = sensitivity_n(
        model,
        inputs,
        attributions,
        target,
        sizes=(subset_size,),
        n_samples=n_samples,
        seed=seed,
        baselines=baselines,
        feature_mask=feature_mask,
        activation=activation,
        additional_forward_args=additional_forward_args,
        output=output,
        perturbations_per_eval=perturbations_per_eval,
        show_progress=show_progress,
    )
    return found[..., 0]


def sensitivity_n(
    model: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: Any = None,
    *,
    sizes: Sequence[Size] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8),
    n_samples: int = 100,
    seed: int = 0,
    baselines: Any = 0,
    feature_mask: Tensors | None = None,
    activation: Activation = "none",
    additional_forward_args: Any = None,
    output: OutputKey = None,
    perturbations_per_eval: int | None = None,
    show_progress: bool = False,
) -> Tensor:
    """Correlate worth and loss for random sets of several sizes.

    A method is sensitive at n where the correlation of :func:`faithfulness_correlation` is 1 for
    sets of n features. Ancona et al. 2018, arXiv:1711.06104. What it is *not*, arguments and errors
    are those of that function.

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
    checked_count(n_samples, "n_samples", 2)
    draws = SeededDraws([checked_seed(seed)])
    deletions = Deletions(
        model,
        inputs,
        attributions,
        target,
        baselines=baselines,
        feature_mask=feature_mask,
        activation=activation,
        additional_forward_args=additional_forward_args,
        output=output,
        perturbations_per_eval=perturbations_per_eval,
    )
    members = deletions.features.members
    ranks = draws.orders(n_samples, members, deletions.inputs.batch_size)
    found = [
        _of_subsets(deletions, ranks < _counts(size, members), _titled(show_progress))
        for size in sizes
    ]
    values = torch.stack([one for one, _ in found], -1)
    is_defined = torch.stack([one for _, one in found], -1)
    because = "all sets are worth the same, or the score loses the same without each"
    return deletions.in_form(undefined(values, is_defined, "the correlation", because))


def monotonicity(
    model: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: Any = None,
    **options: Any,
) -> Tensor:
    """Measure how often the score rises as features are restored, the least important first.

    The share of steps of :func:`torchattr.evaluate.insertion_curve` with `order="least"` at which
    the score does not fall by more than rounding, 0 to 1, one value for each example. Arya et al.
    2019, arXiv:1909.03012, who ask for all steps, which is 1.

    It does *not* see by how much the score rises.

    Args:
        options: arguments of that function, such as `steps`; raw scores, black pictures as
            baselines by default.

    Returns:
        `(N,)`, or `(N, targets)` for several targets.

    Raises:
        ShapeError, InputTypeError, InputError, OutputError: as for that function.

    >>> import torch
    >>> x, weights = torch.ones(1, 3), torch.tensor([[3.0, -1.0, 2.0]])
    >>> monotonicity(lambda x: x @ weights.T, x, weights).tolist()
    [0.66...]
    """
    chosen = {"activation": "none", "baselines": 0, **options}
    curve = insertion_curve(model, inputs, attributions, target, order="least", **chosen)
    scores = curve.scores
    rounding = 8 * unit(scores) * scores.abs().amax(-1, keepdim=True)
    return (scores.diff(dim=-1) >= -rounding).double().mean(-1)


def _of_subsets(deletions: Deletions, replaced: Tensor, title: str | None) -> tuple[Tensor, Tensor]:
    """Return the correlation over sets of features for each example and target, where defined.

    Args:
        deletions: the batch and what is measured.
        replaced: whether each set has each feature, `(sets, N or 1, features)`.
        title: of the progress bar; `None` shows none.
    """
    values = deletions.of(ListedCoalitions(deletions.features, ~replaced), title)
    drops = _along_last(deletions.scores.clean - values)
    sums = deletions.sums()
    sets = replaced.to(sums).expand(-1, sums.shape[1], -1)
    worth = torch.einsum("snf,tnf->nts", sets, sums)
    return _correlation(worth, drops, "pearson")


def _along_last(values: Tensor) -> Tensor:
    """Return `(N, targets, copies)` from `(copies, N, targets)`."""
    return values.permute(1, 2, 0)


def _counts(size: Size, members: Tensor) -> Tensor:
    """Return how many of its features each example's sets have, `(N or 1, 1)`.

    Raises:
        InputTypeError: a size that is not a number.
        InputError: one out of range.
    """
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


def _titled(show_progress: bool) -> str | None:
    return "Deletion" if show_progress else None

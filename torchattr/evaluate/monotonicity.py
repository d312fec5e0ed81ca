"""Monotonicity: whether features said to be worth more matter more to the score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchattr.core.rounding import unit
from torchattr.core.types import Forward, Tensors
from torchattr.evaluate.curves import counts_at, curve_of, mean_over
from torchattr.evaluate.deletions import DeletionOptions, Deletions, FeatureOptions
from torchattr.evaluate.faithfulness import along_last
from torchattr.evaluate.measured_maps import undefined
from torchattr.evaluate.ranks import correlation_of_features
from torchattr.evaluate.replacement import UniformNoise
from torchattr.methods import checked_count

if TYPE_CHECKING:
    from typing_extensions import Unpack


def monotonicity(
    model: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: Any = None,
    *,
    steps: float = 100,
    **options: Unpack[DeletionOptions],
) -> Tensor:
    """Measure how often the score rises as features are restored, the least important first.

    The share of steps of :func:`torchattr.evaluate.insertion_curve` with `order="least"` at which
    the score does not fall by more than rounding, 0 to 1, one value for each example; the higher,
    the better. Arya et al. 2019, arXiv:1909.03012, who ask for all steps, which is 1.

    It does *not* see by how much the score rises.

    Quantus 0.6 restores nothing: it replaces features of the baseline by the baseline.

    Args:
        model: as for every method.
        inputs: as for every method.
        attributions: as for that function.
        target: as for every method.
        steps: as for that function.
        options: see :class:`torchattr.evaluate.DeletionOptions`; raw scores, and 0 as baseline.

    Returns:
        `(N,)`, or `(N, targets)` for several targets; NaN with a warning where all features are
        said to be worth the same, so that they have no order.

    Raises:
        ShapeError, InputTypeError, InputError, OutputError: as for that function.

    >>> import torch
    >>> x, weights = torch.ones(1, 3), torch.tensor([[3.0, -1.0, 2.0]])
    >>> monotonicity(lambda x: x @ weights.T, x, weights).tolist()
    [0.66...]
    """
    settled: DeletionOptions = {"activation": "none", "baselines": 0, **options}
    deletions = Deletions(model, inputs, attributions, target, **settled)
    counts = counts_at(deletions, steps)
    curve = curve_of(deletions, "insertion", "least", counts, "monotonicity")
    scores = curve.scores
    rounding = 8 * unit(scores) * scores.abs().amax(-1, keepdim=True)
    rises = scores.diff(dim=-1) >= -rounding
    found = mean_over(rises.double(), curve.distinct[..., 1:])
    # NaN neither rises nor falls.
    return found.masked_fill(scores.isnan().any(-1), torch.nan)


def monotonicity_correlation(
    model: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: Any = None,
    *,
    n_samples: int = 10,
    seed: int = 0,
    **options: Unpack[FeatureOptions],
) -> Tensor:
    """Correlate the ranks of features with how much the score varies when they are drawn anew.

    `ρ_i(|Σ a of feature i|, mean_u (s(x) - s(x with feature i ← u))²)`, Spearman's, where `u` is
    uniform noise within the range of each channel: one value for each example, -1 to 1; the higher,
    the better. Nguyen and Martínez 2020, arXiv:2007.07584 ("monotonicity"). Their loss is relative
    to the score, which changes no rank.

    It does *not* see the signs of a map, nor what features do together.

    Quantus 0.6 forms its features from neighbours in the order of the map, and sums the magnitudes
    of their elements.

    Args:
        model: as for every method.
        inputs: as for every method, floating.
        attributions: as for :func:`torchattr.evaluate.deletion_curve`.
        target: as for every method.
        n_samples: how often each feature is drawn.
        seed: of the noise, which all examples share.
        options: see :class:`torchattr.evaluate.FeatureOptions`; raw scores by default.

    Returns:
        `(N,)`, or `(N, targets)` for several targets; NaN with a warning where all features are
        said to be worth the same, or matter the same.

    Raises:
        ShapeError, InputTypeError, InputError, OutputError: as for that function; a number or seed
            out of range.

    >>> import torch
    >>> x, weights = torch.tensor([[1.0, 0.0, 1.0]]), torch.tensor([[3.0, 1.0, -2.0]])
    >>> found = monotonicity_correlation(lambda x: x @ weights.T, x, weights, n_samples=100)
    >>> found.round(decimals=6).tolist()
    [1.0]
    """
    checked_count(n_samples, "n_samples")
    deletions = Deletions(model, inputs, attributions, target, baselines=0, **options)
    noise = UniformNoise(deletions.inputs, seed)
    total = torch.zeros((), dtype=torch.float64)
    for sample in range(n_samples):
        values = deletions.of(deletions.features, "Deletion", noise.sample(sample))
        total = total.to(values.device) + (deletions.scores.clean - values).double().square()
    found, is_defined = correlation_of_features(
        deletions.sums().abs(),
        along_last(total / n_samples),
        deletions.features.members,
        "spearman",
    )
    because = "all features are worth the same, or matter the same"
    return deletions.in_form(undefined(found, is_defined, "monotonicity_correlation", because))

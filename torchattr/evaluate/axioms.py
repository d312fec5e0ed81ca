"""Axioms: what an explanation should satisfy whatever the network does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchattr.core.arguments import checked_flags
from torchattr.core.checked_numbers import as_number
from torchattr.core.inputs import Inputs, as_arguments, as_tensors, as_value
from torchattr.core.rounding import in_single
from torchattr.core.types import Forward, OutputKey, Tensors
from torchattr.errors import InputError, OutputError, ShapeError
from torchattr.evaluate.deletions import DeletionOptions, Deletions
from torchattr.evaluate.measured_inputs import measured_inputs
from torchattr.evaluate.measured_maps import undefined
from torchattr.evaluate.replacement import UniformNoise, as_replaced
from torchattr.methods import TargetScores, checked_count

if TYPE_CHECKING:
    from typing_extensions import Unpack


@checked_flags
def completeness(
    model: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: Any = None,
    *,
    baselines: Any = 0,
    relative: bool = False,
    additional_forward_args: Any = None,
    output: OutputKey = None,
) -> Tensor:
    """Measure what attributions miss of the score: `Σ a − (s(x) − s(b))`.

    The residual of completeness, of either sign and in the units of the score, 0 for a complete
    attribution: the nearer to 0, the better; with `relative` as a share of `|s(x) − s(b)|`.
    Sundararajan, Taly and Yan 2017, arXiv:1703.01365; with `baselines=None` the conservation
    `Σ a = s(x)` of Bach et al. 2015, doi:10.1371/journal.pone.0130140.

    It is *not* evidence that a map is right: the whole score on one pixel is complete. Of methods
    like LRP the ledger (`ta.LRP(model).ledgers(...)`) tells *where* a residual stayed.

    Quantus 0.6 asks whether the floats are equal, of maps that it normalises by default: hardly any
    attribution passes.

    Args:
        model: as for every method, see :class:`torchattr.Attribution`.
        inputs: as for every method.
        attributions: shaped like the inputs, or of fewer channels; for several targets
            `(N, targets, ...)`.
        target: as for every method; `None` is the class predicted for the unchanged inputs.
        baselines: what the attribution starts from: a number, `"blur"`, a tensor that broadcasts to
            the input, or a tuple of these for several inputs; `None` compares with the score alone.
        relative: divide by the size of the difference.
        additional_forward_args: as for every method.
        output: as for every method.

    Returns:
        `(N,)`, or `(N, targets)` for several targets, in double precision; relative to no
        difference it is NaN, with a warning.

    Raises:
        ShapeError, InputTypeError: attributions that do not fit the inputs.
        InputError: attributions that are not finite.
        OutputError: a model without one row of scores for each example.

    >>> import torch
    >>> x, weights = torch.ones(2, 3), torch.tensor([[3.0, 1.0, 2.0]])
    >>> completeness(lambda x: x @ weights.T + 5, x, (x * weights)).tolist()
    [0.0, 0.0]
    """
    given = measured_inputs(inputs)
    scores = TargetScores(model, given, target, as_arguments(additional_forward_args), output)
    if not scores.per_example:
        raise OutputError(
            "completeness compares each example with its own score, but the model returns"
            f" {len(scores.clean)} values for {given.batch_size} examples; pass a model with one"
            " row of scores for each"
        )
    difference = scores.clean.double()
    if baselines is not None:
        replaced = as_replaced(baselines, given)
        rows = [
            as_value(b, x).expand_as(x).contiguous()
            for b, x in zip(replaced, given.tensors, strict=True)
        ]
        difference = difference - scores.of(rows)[0].double()
    residual = _sums(attributions, given, scores) - difference
    if relative:
        because = "the score does not differ from the baseline's"
        found = residual / difference.abs()
        residual = undefined(found, difference != 0, "relative completeness", because)
    return residual if scores.several else residual[:, 0]


def non_sensitivity(
    model: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: Any = None,
    *,
    threshold: float = 1e-5,
    n_samples: int = 4,
    seed: int = 0,
    **options: Unpack[DeletionOptions],
) -> Tensor:
    """Count the features that are said to matter and do not, or matter and are said not to.

    `|{i: a_i = 0} △ {i: E_v[(s(x) − s(x with i ← v))²] = 0}|`, from 0 to the number of features;
    the lower, the better. Nguyen and Martínez 2020, arXiv:2007.07584.

    The expectation is over uniform noise `v` in the range of each channel, so that a feature that
    happens to have the baseline's value already does not pass for one without effect. It does *not*
    see how much a feature matters, nor what features do together: of a pair that can stand in for
    each other, none matters alone.

    Quantus 0.6 takes features of single elements only, and compares with absolute thresholds.

    Args:
        model: as for every method.
        inputs: as for every method.
        attributions: as for :func:`torchattr.evaluate.deletion_curve`.
        target: as for every method.
        threshold: attributions up to this share of the largest, and effects up to this share of the
            score, count as 0.
        n_samples: how often each feature is drawn.
        seed: of the noise, which all examples share.
        options: see :class:`torchattr.evaluate.DeletionOptions`; raw scores. With `baselines` they
            replace features once, instead of noise.

    Returns:
        `(N,)`, or `(N, targets)` for several targets.

    Raises:
        ShapeError, InputTypeError, InputError, OutputError: as for that function; a threshold or
            number out of range.

    >>> import torch
    >>> x, weights = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[3.0, 0.0, 2.0]])
    >>> model = lambda x: x @ weights.T
    >>> non_sensitivity(model, x, weights), non_sensitivity(model, x, torch.tensor([[0.0, 1, 1]]))
    (tensor([0]), tensor([2]))
    """
    threshold = as_number(threshold, "threshold")
    if not 0 <= threshold < 1:
        raise InputError(f"threshold must be at least 0 and below 1, got {threshold}")
    checked_count(n_samples, "n_samples")
    deletions = Deletions(model, inputs, attributions, target, **options)
    replaced: list[Any] = [None]
    if "baselines" not in options:
        noise = UniformNoise(deletions.inputs, seed)
        replaced = [noise.sample(number) for number in range(n_samples)]
    clean = deletions.scores.clean
    squares = [
        (clean - deletions.of(deletions.features, "Deletion", values)).double().square()
        for values in replaced
    ]
    effect = torch.stack(squares).mean(0).sqrt().permute(1, 2, 0)  # (N, targets, features)
    least = threshold * clean.double().abs()[..., None]
    worth = deletions.sums().abs().transpose(0, 1)
    idle = worth <= threshold * worth.amax(-1, keepdim=True)
    members = deletions.features.members[:, None].to(effect.device)
    return deletions.in_form(((idle != (effect <= least)) & members).sum(-1))


def _sums(attributions: Any, inputs: Inputs, scores: TargetScores) -> Tensor:
    """Return the sums of attributions, `(N, targets)`."""
    count = len(scores.targets)
    sums = []
    for value in as_tensors(attributions, "attributions"):
        wanted = (inputs.batch_size, *((count,) if scores.several else ()))
        if value.shape[: len(wanted)] != wanted:
            raise ShapeError(
                f"attributions have the shape {tuple(value.shape)}, but must begin with {wanted}"
            )
        if not torch.isfinite(value).all():
            raise InputError("attributions holds NaN or infinite values, which have no sum")
        found = in_single(value.detach()).double().reshape(inputs.batch_size, count, -1).sum(2)
        sums.append(found.to(scores.clean.device))
    return torch.stack(sums).sum(0)

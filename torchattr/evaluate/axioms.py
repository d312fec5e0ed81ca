"""Axioms: what an explanation should satisfy whatever the network does."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs, as_arguments, as_inputs, as_tensors, as_value
from torchattr.core.rounding import in_single
from torchattr.core.types import Activation, Forward, OutputKey, Tensors
from torchattr.errors import InputError, OutputError, ShapeError
from torchattr.evaluate.deletions import Deletions
from torchattr.evaluate.measured_maps import undefined
from torchattr.evaluate.replacement import as_replaced
from torchattr.methods import SeededStreams, TargetScores, checked_count
from torchattr.methods import checked_seed as _checked_seed


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

    The residual of completeness, 0 for a complete attribution; with `relative` as a share of
    `|s(x) − s(b)|`. Sundararajan, Taly and Yan 2017, arXiv:1703.01365; with `baselines=None` the
    conservation `Σ a = s(x)` of Bach et al. 2015, doi:10.1371/journal.pone.0130140.

    It is *not* evidence that a map is right: the whole score on one pixel is complete. Of methods
    like LRP the ledger (`ta.LRP(model).ledgers(...)`) tells *where* a residual stayed.

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
    given = as_inputs(inputs, differentiable=False)
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
    baselines: Any = None,
    n_samples: int = 4,
    seed: int = 0,
    feature_mask: Tensors | None = None,
    activation: Activation = "none",
    additional_forward_args: Any = None,
    output: OutputKey = None,
    perturbations_per_eval: int | None = None,
    show_progress: bool = False,
) -> Tensor:
    """Count the features that are said to matter and do not, or matter and are said not to.

    `|{i: a_i = 0} △ {i: E_v[(s(x) − s(x with i ← v))²] = 0}|`, from 0 to the number of features;
    the lower, the better. Nguyen and Martínez 2020, arXiv:2007.07584.

    The expectation is over random values `v` from the range of each example's input, so that a
    feature that happens to have the baseline's value already does not pass for one without effect.
    It does *not* see how much a feature matters, nor what features do together: of a pair that can
    stand in for each other, none matters alone.

    Args:
        threshold: attributions up to this share of the largest, and effects up to this share of the
            score, count as 0.
        baselines: replace features by this instead of by random values, as for
            :func:`torchattr.evaluate.deletion_curve`, whose further arguments these are.
        n_samples: number of random values of each feature.
        seed: of these values, which all examples share as shares of their range.

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
    if not 0 <= threshold < 1:
        raise InputError(f"threshold must be at least 0 and below 1, got {threshold}")
    given = as_inputs(inputs, differentiable=False)
    replaced = _random_values(given, n_samples, seed) if baselines is None else [baselines]
    effects: list[Tensor] = []
    for values in replaced:
        deletions = Deletions(
            model,
            inputs,
            attributions,
            target,
            baselines=values,
            feature_mask=feature_mask,
            activation=activation,
            additional_forward_args=additional_forward_args,
            output=output,
            perturbations_per_eval=perturbations_per_eval,
        )
        scores = deletions.of(deletions.features, "Deletion" if show_progress else None)
        effects.append((deletions.scores.clean - scores).double().square())
    effect = torch.stack(effects).mean(0).sqrt().permute(1, 2, 0)  # (N, targets, features)
    least = threshold * deletions.scores.clean.double().abs()[..., None]
    worth = deletions.sums().abs().transpose(0, 1)
    idle = worth <= threshold * worth.amax(-1, keepdim=True)
    differs = (idle != (effect <= least)) & deletions.features.members[:, None]
    return deletions.in_form(differs.sum(-1))


def _random_values(inputs: Inputs, n_samples: int, seed: int) -> list[tuple[Tensor, ...]]:
    """Return values within the range of each example, for each sample one like each input."""
    checked_count(n_samples, "n_samples")
    streams = SeededStreams([_checked_seed(seed)])
    return [
        tuple(_within(x, streams, number, sample) for number, x in enumerate(inputs.tensors))
        for sample in range(n_samples)
    ]


def _within(tensor: Tensor, streams: SeededStreams, stream: int, sample: int) -> Tensor:
    drawn = streams.uniform(stream, sample, sample + 1, tensor.shape[1:].numel())
    shares = torch.from_numpy(drawn).to(tensor.device).reshape(1, *tensor.shape[1:])
    flat = tensor.detach().double().flatten(1)
    shape = (len(tensor), *(1 for _ in tensor.shape[1:]))
    low, high = flat.amin(1).reshape(shape), flat.amax(1).reshape(shape)
    return (low + shares * (high - low)).to(tensor.dtype)


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

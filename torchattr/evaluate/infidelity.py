"""Infidelity: whether attributions predict what perturbations of the input do to the score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr.core.arguments import check_function, checked_flags
from torchattr.core.checked_numbers import as_number
from torchattr.core.inputs import Inputs, all_finite, as_arguments, as_baselines, as_tensors
from torchattr.core.targets import Target
from torchattr.core.types import Baselines, Forward, OutputKey, Tensors
from torchattr.errors import InputError, InputTypeError, OutputError, ShapeError
from torchattr.evaluate.measured_inputs import measured_inputs
from torchattr.evaluate.perturbed_rows import (
    SampleNoise,
    copies_at_once,
    copy_after_copy,
    repeated_rows,
    side_by_side,
)
from torchattr.methods import TargetScores, check_at_once, checked_count, in_batches

Perturb = Callable[..., Any]


@checked_flags
def infidelity(
    model: Forward,
    inputs: Tensors,
    attributions: Tensors,
    target: Target = None,
    *,
    perturb_func: Perturb | None = None,
    stdev: float = 0.1,
    baselines: Baselines = None,
    n_samples: int = 10,
    normalize: bool = False,
    additional_forward_args: Any = None,
    output: OutputKey = None,
    seed: int | Sequence[int] = 0,
    perturbations_per_eval: int | None = None,
) -> Tensor:
    """Return how far attributions are from predicting the effect of perturbations, `(N,)`.

    `E_I [(Iᵀ Φ − (s(x) − s(x − I)))²]` over perturbations `I`, 0 or more: 0 is perfect, the lower,
    the better. Yeh et al. 2019, arXiv:1901.09392. Of what :class:`torchattr.Saliency` and other
    local methods return, `I` is the change of the input; of attributions in the units of the score,
    the share of the change.

    It is *not* comparable between distributions of perturbations, and without `normalize` not
    between methods of different scale.

    Quantus 0.6 perturbs by squares, see :func:`square_infidelity`.

    Args:
        model: as for every method, see :class:`torchattr.Attribution`.
        inputs: as for every method.
        attributions: shaped like the inputs; `(N, targets, ...)` for several targets.
        target: as for every method; `None` is the class predicted for the unchanged inputs.
        perturb_func: called with copies of the inputs, those of an example side by side, and with
            `baselines` if there are any; returns `I` and the perturbed inputs, see
            :func:`perturbed_by`. `None` subtracts Gaussian noise.
        stdev: standard deviation of that noise.
        baselines: repeated like the inputs for `perturb_func`.
        n_samples: number of perturbations of each example.
        normalize: scale the attributions of each example to fit best, as in the paper's code.
        additional_forward_args: as for every method.
        output: as for every method.
        seed: seed of the noise, or one for each example; the result of an example depends on it
            and on `n_samples` alone. It does not concern `perturb_func`.
        perturbations_per_eval: maximum number of perturbations of the batch in one forward; `None`
            uses as many as memory allows.

    Raises:
        ShapeError: attributions or perturbations that do not fit the inputs.
        InputTypeError: `perturb_func` does not return two things.
        InputError: NaN or infinite attributions, or an argument out of range.
        OutputError: a model without one row of scores for each example.

    >>> weights = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> x = torch.ones(3, 2)
    >>> exact = infidelity(lambda x: x @ weights, x, weights[:, 1].expand(3, 2), target=1)
    >>> exact.shape, bool(exact.max() < 1e-9)
    (torch.Size([3]), True)
    """
    checked_count(n_samples, "n_samples")
    check_at_once(perturbations_per_eval)
    given = measured_inputs(inputs)
    scores = TargetScores(model, given, target, as_arguments(additional_forward_args), output)
    if not scores.per_example:
        raise OutputError(
            "infidelity compares each example with its own score, but the model returns"
            f" {len(scores.clean)} values for {given.batch_size} examples; pass a model with one"
            " row of scores for each"
        )
    maps = _attributions(attributions, given, scores)
    if perturb_func is None:
        perturbed = _noisy(given, seed, stdev)
    else:
        perturbed = _by_function(given, perturb_func, baselines)

    def moments(start: int, stop: int) -> Tensor:
        changes, rows = perturbed(start, stop)
        predicted = _predicted(maps, changes, stop - start)
        effect = scores.clean - scores.of(rows, stop - start)
        return _moments(predicted.double(), effect.double(), normalize=normalize)

    at_once = perturbations_per_eval or (copies_at_once(given) if scores.repeatable else 1)
    total = torch.stack(list(in_batches(n_samples, at_once, moments, "perturbation"))).sum(0)
    values = _normalized(total) if normalize else total[0]
    found = (values / n_samples).to(scores.clean.dtype)
    return found if scores.several else found[:, 0]


@checked_flags
def perturbed_by(multiply_by_inputs: bool = True) -> Callable[[Perturb], Perturb]:
    """Return a decorator for functions that return perturbed inputs only.

    The perturbations are then the changes `x − x'`; with `multiply_by_inputs`, for attributions in
    the units of the score, their shares `(x − x') / (x − b)`, where a denominator of 0 counts as 1.

    >>> @perturbed_by(multiply_by_inputs=False)
    ... def without_last(inputs):
    ...     return torch.cat([inputs[:, :-1], torch.zeros_like(inputs[:, -1:])], 1)
    >>> without_last(torch.tensor([[1.0, 2.0]]))
    ((tensor([[0., 2.]]),), (tensor([[1., 0.]]),))
    """

    def decorate(function: Perturb) -> Perturb:
        def perturb(
            inputs: Tensors, baselines: Baselines = None
        ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
            arguments = (inputs,) if baselines is None else (inputs, baselines)
            rows = as_tensors(function(*arguments), "what perturb_func returned")
            tensors = as_tensors(inputs, "inputs")
            base = as_baselines(baselines, Inputs(tensors, isinstance(inputs, tuple)))
            changes = [x - changed for x, changed in zip(tensors, rows, strict=True)]
            if multiply_by_inputs:
                whole = [x - b for x, b in zip(tensors, base, strict=True)]
                changes = [c / w.where(w != 0, 1) for c, w in zip(changes, whole, strict=True)]
            return tuple(changes), rows

        return perturb

    return decorate


def _attributions(attributions: Any, inputs: Inputs, scores: TargetScores) -> list[Tensor]:
    """Return attributions `(N, targets, elements)` for each input."""
    maps = as_tensors(attributions, "attributions")
    if not all(map(all_finite, maps)):
        raise InputError("attributions hold NaN or infinite values, which predict no change")
    _same_number(maps, inputs.tensors, "attributions")
    count = len(scores.targets)
    for values, x in zip(maps, inputs.tensors, strict=True):
        wanted = (len(x), *((count,) if scores.several else ()), *x.shape[1:])
        if values.shape != wanted:
            raise ShapeError(
                f"attributions have shape {tuple(values.shape)}, but must have {wanted} for an"
                f" input of shape {tuple(x.shape)}"
            )
    return [values.detach().reshape(len(values), count, -1) for values in maps]


def _noisy(inputs: Inputs, seed: Any, stdev: float) -> Callable[[int, int], Any]:
    stdev = as_number(stdev, "stdev")
    if not 0 <= stdev < float("inf"):
        raise InputError(f"stdev must be finite and not negative, got {stdev}")
    noise = SampleNoise(inputs, seed)

    def perturbed(start: int, stop: int) -> tuple[list[Tensor], list[Tensor]]:
        rows = repeated_rows(inputs.tensors, stop - start)
        changed = [
            x - stdev * drawn for x, drawn in zip(rows, noise.normal(start, stop), strict=True)
        ]
        # What was subtracted up to rounding, not what should have been.
        return [x - y for x, y in zip(rows, changed, strict=True)], changed

    return perturbed


def _by_function(
    inputs: Inputs, perturb_func: Perturb, baselines: Baselines
) -> Callable[[int, int], Any]:
    check_function("perturb_func", perturb_func)
    base = None if baselines is None else as_baselines(baselines, inputs)

    def perturbed(start: int, stop: int) -> tuple[list[Tensor], list[Tensor]]:
        copies = stop - start
        rows = side_by_side(inputs.tensors, copies)
        arguments = [_bare(rows)]
        if base is not None:
            pairs = zip(base, inputs.tensors, strict=True)
            arguments.append(_bare([_repeated(b, x, copies) for b, x in pairs]))
        changes, changed = _checked(perturb_func(*arguments), rows)
        return (
            [copy_after_copy(one, copies) for one in changes],
            [copy_after_copy(one, copies) for one in changed],
        )

    return perturbed


def _repeated(baseline: Any, tensor: Tensor, copies: int) -> Any:
    own = isinstance(baseline, Tensor) and baseline.shape[:1] == tensor.shape[:1]
    return baseline.repeat_interleave(copies, dim=0) if own and len(tensor) > 1 else baseline


def _checked(returned: Any, rows: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise InputTypeError(
            "perturb_func must return the perturbations and the perturbed inputs, got"
            f" {type(returned).__name__}; decorate one that returns perturbed inputs only with"
            " perturbed_by"
        )
    changes, changed = (as_tensors(part, "what perturb_func returned") for part in returned)
    _same_number(changes, rows, "perturb_func's perturbations")
    _same_number(changed, rows, "perturb_func's perturbed inputs")
    for change, new, row in zip(changes, changed, rows, strict=True):
        if change.shape != row.shape or new.shape != row.shape:
            raise ShapeError(
                f"perturb_func returned a perturbation of shape {tuple(change.shape)} and an input"
                f" of shape {tuple(new.shape)} for {tuple(row.shape)}; return both in that shape"
            )
    return changes, changed


def _same_number(given: Sequence[Any], wanted: Sequence[Any], name: str) -> None:
    if len(given) != len(wanted):
        raise ShapeError(f"{name}: {len(given)} tensors for {len(wanted)} inputs; pass one each")


def _bare(values: Sequence[Any]) -> Any:
    return tuple(values) if len(values) > 1 else values[0]


def _predicted(maps: Sequence[Tensor], changes: Sequence[Tensor], copies: int) -> Tensor:
    """Return `Iᵀ Φ` of each copy: `(copies, N, targets)`."""
    sums = []
    for values, change in zip(maps, changes, strict=True):
        of_copies = change.detach().reshape(copies, len(values), 1, -1)
        sums.append((of_copies * values).sum(3))
    return torch.stack(sums).sum(0)


def _moments(predicted: Tensor, effect: Tensor, *, normalize: bool) -> Tensor:
    if not normalize:
        return (predicted - effect).square().sum(0)[None]
    products = (predicted.square(), predicted * effect, effect.square())
    return torch.stack([product.sum(0) for product in products])


def _normalized(moments: Tensor) -> Tensor:
    """Return the sum of squares for the best scale `β = E[Iᵀ Φ · Δs] / E[(Iᵀ Φ)²]`."""
    squares, mixed, effects = moments
    scale = mixed / squares.where(squares != 0, 1)
    # A sum of squares, which rounding may take below 0.
    return (scale.square() * squares - 2 * scale * mixed + effects).clamp(min=0)

"""Sensitivity: how much an explanation changes when the input hardly does."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs, as_inputs, as_tensors
from torchattr.core.types import Tensors
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.evaluate.perturbed_rows import (
    SampleNoise,
    copies_at_once,
    copy_after_copy,
    repeated_rows,
    side_by_side,
)
from torchattr.methods import (
    Attribution,
    check_at_once,
    checked_count,
    fixed_options,
    in_batches,
    repeat_options,
)

Perturb = Callable[..., Any]


def sensitivity_max(
    explanation: Attribution | Callable[..., Any],
    inputs: Tensors,
    *,
    perturb_func: Perturb | None = None,
    radius: float = 0.02,
    n_samples: int = 10,
    norm_ord: float | str = "fro",
    seed: int | Sequence[int] = 0,
    perturbations_per_eval: int | None = None,
    **options: Any,
) -> Tensor:
    """Return the largest relative change of an explanation near the input, `(N,)`.

    `max ‖Φ(x') − Φ(x)‖ / ‖Φ(x)‖` over samples `x'` with `‖x' − x‖∞ ≤ radius`. Yeh et al. 2019,
    arXiv:1901.09392.

    It is a lower bound of the true maximum, which more samples approach, and it is *not* evidence
    that an explanation is right: a constant one has sensitivity 0.

    Args:
        explanation: a method, its `attribute`, or any function of inputs and options that returns
            one row for each example.
        inputs: as for every method, see :class:`torchattr.Attribution`.
        perturb_func: called with copies of the inputs, those of an example side by side, and with
            the radius if it takes two arguments; returns the perturbed inputs. `None` adds uniform
            noise.
        radius: half the width of that noise.
        n_samples: number of samples of each example.
        norm_ord: the order of the norm, as of `torch.linalg.vector_norm`; `"fro"` is 2.
        seed: seed of the noise, or one for each example; it does not concern `perturb_func`.
        perturbations_per_eval: maximum number of samples of the batch at once; `None` uses as many
            as memory allows.
        **options: the explanation's own arguments. Those with one entry for each example are
            repeated; for a method, the predicted classes of `target=None` are those of the
            unchanged input.

    Raises:
        ShapeError: perturbed inputs or explanations without one row for each example.
        InputError: an argument out of range.

    >>> import torchattr as ta
    >>> linear = torch.nn.Linear(3, 2)
    >>> sensitivity_max(ta.Saliency(linear), torch.ones(2, 3), target=1)  # constant gradients
    tensor([0., 0.])
    """
    checked_count(n_samples, "n_samples")
    check_at_once(perturbations_per_eval)
    order = _order(norm_ord)
    given = as_inputs(inputs, differentiable=False)
    explain, method = _as_function(explanation)
    at_once = perturbations_per_eval or copies_at_once(given)
    if method is not None:
        options, at_once = fixed_options(method, given, options, at_once)
    clean = _rows(explain(inputs, **options), given.batch_size)
    scale = torch.linalg.vector_norm(clean, order, dim=1)
    scale = scale.where(scale != 0, 1)
    if perturb_func is None:
        perturbed = _uniform(given, seed, radius)
    else:
        perturbed = _by_function(given, perturb_func, radius)

    def largest(start: int, stop: int) -> Tensor:
        copies = stop - start
        found = explain(
            given.restore(perturbed(start, stop)), **repeat_options(options, given, copies)
        )
        values = _rows(found, copies * given.batch_size)
        changes = values.unflatten(0, (copies, given.batch_size)) - clean
        return torch.linalg.vector_norm(changes, order, dim=2).amax(0) / scale

    return torch.stack(list(in_batches(n_samples, at_once, largest, "sample"))).amax(0)


def _order(norm_ord: Any) -> float:
    if norm_ord == "fro":
        return 2.0
    if isinstance(norm_ord, (int, float)) and not isinstance(norm_ord, bool):
        return float(norm_ord)
    raise InputError(f"norm_ord must be 'fro' or a number, got {norm_ord!r}")


def _as_function(explanation: Any) -> tuple[Callable[..., Any], Attribution | None]:
    """Return a function that explains, and the method whose `attribute` it is, if any."""
    if isinstance(explanation, Attribution):
        return explanation.attribute, explanation
    if not callable(explanation):
        raise InputTypeError(
            "explanation must be a method or a function of inputs, got"
            f" {type(explanation).__name__}"
        )
    owner = getattr(explanation, "__self__", None)
    return explanation, owner if isinstance(owner, Attribution) else None


def _rows(explained: Any, count: int) -> Tensor:
    """Return an explanation of any form as one row for each example."""
    tensors = as_tensors(explained, "what the explanation returned")
    for tensor in tensors:
        if tensor.dim() == 0 or len(tensor) != count:
            raise ShapeError(
                f"the explanation returned the shape {tuple(tensor.shape)} for {count} examples;"
                " it must return one row for each"
            )
    return torch.cat([tensor.detach().reshape(count, -1) for tensor in tensors], dim=1)


def _uniform(inputs: Inputs, seed: Any, radius: float) -> Callable[[int, int], list[Tensor]]:
    if not 0 <= radius < float("inf"):
        raise InputError(f"radius must be finite and not negative, got {radius}")
    noise = SampleNoise(inputs, seed)

    def perturbed(start: int, stop: int) -> list[Tensor]:
        rows = repeated_rows(inputs.tensors, stop - start)
        drawn = noise.uniform(start, stop)
        return [x + radius * one for x, one in zip(rows, drawn, strict=True)]

    return perturbed


def _by_function(
    inputs: Inputs, perturb_func: Perturb, radius: float
) -> Callable[[int, int], list[Tensor]]:
    takes_radius = len(inspect.signature(perturb_func).parameters) > 1

    def perturbed(start: int, stop: int) -> list[Tensor]:
        rows = side_by_side(inputs.tensors, stop - start)
        bare: Any = rows if len(rows) > 1 else next(iter(rows))
        found = perturb_func(bare, radius) if takes_radius else perturb_func(bare)
        changed = as_tensors(found, "what perturb_func returned")
        if [one.shape for one in changed] != [row.shape for row in rows]:
            raise ShapeError(
                f"perturb_func returned {[tuple(one.shape) for one in changed]} for inputs of shape"
                f" {[tuple(row.shape) for row in rows]}; return perturbed inputs of these shapes"
            )
        return [copy_after_copy(one, stop - start) for one in changed]

    return perturbed

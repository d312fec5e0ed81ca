"""Captum's names for the metrics, `captum.metrics`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchattr import evaluate
from torchattr.captum.elsewhere import refuse as _refuse
from torchattr.captum.errors import raises_like_captum
from torchattr.core.inputs import as_inputs, as_tensors
from torchattr.core.targets import OnlyValue
from torchattr.core.types import Baselines, Forward, Tensors
from torchattr.methods import checked_count, checked_number

__path__: list[str] = []  # so that `refuse` knows an import


def __getattr__(name: str) -> object:
    return _refuse(name, __name__)


@raises_like_captum
def infidelity(
    forward_func: Forward,
    perturb_func: Callable[..., Any],
    inputs: Tensors,
    attributions: Tensors,
    baselines: Baselines = None,
    additional_forward_args: Any = None,
    target: Any = None,
    n_perturb_samples: int = 10,
    max_examples_per_batch: int | None = None,
    normalize: bool = False,
) -> Tensor:
    """Return :func:`torchattr.evaluate.infidelity`; without a target there must be one value.

    Raises:
        ShapeError: attributions or perturbations that do not fit the inputs.
        TargetError: no target for several values.
    """
    checked_count(n_perturb_samples, "n_perturb_samples")
    return evaluate.infidelity(
        forward_func,
        inputs,
        attributions,
        OnlyValue() if target is None else target,
        perturb_func=perturb_func,
        baselines=baselines,
        n_samples=n_perturb_samples,
        normalize=normalize,
        additional_forward_args=additional_forward_args,
        perturbations_per_eval=_copies(inputs, max_examples_per_batch),
    )


def infidelity_perturb_func_decorator(
    multiply_by_inputs: bool = True,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return :func:`torchattr.evaluate.perturbed_by`."""
    return evaluate.perturbed_by(multiply_by_inputs)


def default_perturb_func(inputs: Tensors, perturb_radius: float = 0.02) -> tuple[Tensor, ...]:
    """Return inputs with uniform noise from PyTorch's generator.

    >>> bool((default_perturb_func(torch.zeros(2, 3), 0.1)[0].abs() <= 0.1).all())
    True
    """
    return tuple(
        x + torch.empty(x.shape).uniform_(-perturb_radius, perturb_radius).to(x)
        for x in as_tensors(inputs, "inputs")
    )


@raises_like_captum
def sensitivity_max(
    explanation_func: Callable[..., Any],
    inputs: Tensors,
    perturb_func: Callable[..., Any] = default_perturb_func,
    perturb_radius: float = 0.02,
    n_perturb_samples: int = 10,
    norm_ord: str = "fro",
    max_examples_per_batch: int | None = None,
    **kwargs: Any,
) -> Tensor:
    """Return :func:`torchattr.evaluate.sensitivity_max`.

    Raises:
        ShapeError: perturbed inputs or explanations without one row for each example.
    """
    checked_count(n_perturb_samples, "n_perturb_samples")
    perturb_radius = checked_number(perturb_radius, "perturb_radius", least=0)
    return evaluate.sensitivity_max(
        explanation_func,
        inputs,
        perturb_func=perturb_func,
        radius=perturb_radius,
        n_samples=n_perturb_samples,
        norm_ord=norm_ord,
        perturbations_per_eval=_copies(inputs, max_examples_per_batch),
        **kwargs,
    )


def _copies(inputs: Tensors, examples: int | None) -> int | None:
    """Return the number of copies of the batch that make up this number of examples."""
    if examples is None:
        return None
    checked_count(examples, "max_examples_per_batch", expected="an int or None")
    count = as_inputs(inputs, differentiable=False).batch_size
    return max(examples // max(count, 1), 1)

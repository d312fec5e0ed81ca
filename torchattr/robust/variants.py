"""Runs a model on several variants of the same inputs at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import as_arguments
from torchattr.core.types import Forward
from torchattr.errors import InputTypeError, OutputError
from torchattr.layers import run_in_eval
from torchattr.methods import in_batches, repeat_arguments


class Variants:
    """A model with the arguments that all variants share.

    Args:
        model: from prepared inputs, a tensor or a tuple of them as one argument, to any output.
        additional_forward_args: further positional arguments; tensors with one row for each example
            are repeated.
    """

    def __init__(self, model: Forward, additional_forward_args: Any) -> None:
        self._model = model
        self._arguments = as_arguments(additional_forward_args)

    def outputs(self, variants: Sequence[Any]) -> Sequence[Any]:
        """Return the output for each variant, from one forward, or several if memory runs out.

        Raises:
            InputTypeError: several variants that are no tensors, nor tuples of them.
            OutputError: the output of several has not one row for each of their rows.
            TrainingModeError: a part of the model is in training mode.
            OutOfMemory: not even one variant fits.
        """

        def some(start: int, stop: int) -> Sequence[Any]:
            return self._together(variants[start:stop])

        parts = in_batches(len(variants), len(variants), some, "variant")
        return [output for outputs in parts for output in outputs]

    def _together(self, variants: Sequence[Any]) -> Sequence[Any]:
        if len(variants) == 1:
            return [run_in_eval(self._model, variants[0], *self._arguments)]
        sizes = [len(_first(variant)) for variant in variants]
        arguments = repeat_arguments(self._arguments, len(variants), sizes[0])
        output = run_in_eval(self._model, _joined(variants), *arguments)
        if not isinstance(output, Tensor) or output.dim() == 0 or len(output) != sum(sizes):
            raise OutputError(
                f"the model's output for {len(variants)} variants of {sizes[0]} examples does not"
                " hold one row for each; pass perturbations_per_eval=1"
            )
        return output.split(sizes)


def prepared(attacked: Any, preproc_fn: Callable[[Any], Any] | None) -> Any:
    """Return inputs as the model takes them."""
    return attacked if preproc_fn is None else preproc_fn(attacked)


def _first(variant: Any) -> Tensor:
    first = variant[0] if isinstance(variant, (tuple, list)) and variant else variant
    if not isinstance(first, Tensor):
        raise InputTypeError(
            "several perturbations at once need inputs that are tensors or tuples of them, got"
            f" {type(first).__name__}; pass preproc_fn, or perturbations_per_eval=1"
        )
    return first


def _joined(variants: Sequence[Any]) -> Any:
    if isinstance(variants[0], Tensor):
        return torch.cat(list(variants))
    columns = zip(*variants, strict=True)
    return tuple(
        torch.cat(column) if isinstance(column[0], Tensor) else column[0] for column in columns
    )

"""Checks that a model's output has one row for each example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr.core.gradient_mode import gradients
from torchattr.core.inputs import Inputs, map_batched
from torchattr.core.types import Forward, OutputKey
from torchattr.errors import FUNCTION, Hint, TargetError, WayOut
from torchattr.layers import Trace

UNFIT = (RuntimeError, ValueError, TypeError, IndexError, AssertionError)
"""What a model raises that does not take as many rows as it is given."""


def per_example(
    output: Tensor,
    inputs: Inputs,
    model: Forward,
    arguments: Sequence[Any],
    key: OutputKey,
) -> Tensor:
    """Return an output with the batch as its first dimension, if that can be determined.

    A model that squeezes its output drops the batch dimension of a single example. Running it on
    the same example twice shows whether it does. An output with one row for two examples aggregates
    the batch, and is returned unchanged.

    Args:
        output: the model's output, with or without one row per example.
        inputs: its inputs.
        model: the model.
        arguments: its further arguments.
        key: which entry of its output holds the scores.
    """
    if inputs.batch_size != 1 or (output.dim() and len(output) == 1):
        return output
    twice = _shape_for_two(inputs, model, arguments, key)
    if twice is not None and tuple(twice) == (2, *output.shape):
        return _unsqueezed(output)
    return output


def require_rows(scores: Sequence[Tensor], inputs: Inputs) -> None:
    """Check that there is one score per example, or one for all of them.

    Raises:
        TargetError: the rows are something else, such as patches or frames.
    """
    for values in scores:
        if len(values) not in (1, inputs.batch_size):
            raise TargetError(
                f"the model returns {len(values)} rows of scores for {inputs.batch_size} examples"
                " (rows may be patches, frames or regions), so none can be assigned to an"
                " example",
                hint=Hint(
                    ways_out=[
                        WayOut("wrap the model so that it returns one row for each example"),
                        WayOut("or compute one with {setting}", "output", FUNCTION),
                    ]
                ),
            )


def _unsqueezed(output: Tensor) -> Tensor:
    with gradients():
        return output.unsqueeze(0)


def _shape_for_two(
    inputs: Inputs, model: Forward, arguments: Sequence[Any], key: OutputKey
) -> torch.Size | None:
    tensors = [torch.cat([tensor.detach(), tensor.detach()]) for tensor in inputs.tensors]
    doubled = map_batched(arguments, 1, lambda rows: torch.cat([rows, rows]))
    try:
        return Trace(model, tensors, doubled, key=key, differentiable=False).output.shape
    except UNFIT:
        # A model for single examples only; whether its output has a batch dimension stays open.
        return None


def beside_targets(values: Tensor, like: Tensor) -> Tensor:
    """Add a dimension for the targets to `(N, ...)` if the other tensor has one."""
    return values.unsqueeze(1) if like.dim() > values.dim() else values

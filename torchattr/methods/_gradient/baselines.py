"""What attributions are measured from: one baseline for each example, or several to choose from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from torch import Tensor

from torchattr.core.inputs import Inputs, as_baselines, as_value, made_into_tensors
from torchattr.core.types import Baselines
from torchattr.errors import InputError, InputTypeError, ShapeError

BaselineDistribution: TypeAlias = "Baselines | Callable[..., Baselines]"
"""Baselines to choose from, or a function of the inputs or of nothing that returns them."""


def fixed_baselines(baselines: Any, inputs: Inputs) -> list[Tensor]:
    """Return one baseline for each example, in the shape and dtype of its input.

    Args:
        baselines: for each input a number, or a tensor that broadcasts to it; 0 by default.
        inputs: the batch.

    Raises:
        InputTypeError, ShapeError: as for :func:`as_baselines`.
        InputError: NaN or infinite values.
    """
    values = zip(as_baselines(baselines, inputs), inputs.tensors, strict=True)
    return [_finite(as_value(value, tensor)).expand_as(tensor) for value, tensor in values]


class BaselineRows:
    """Baselines to choose from: rows in the form of an example, any number of them.

    Rows of several inputs belong together, as the parts of one example do, if there are equally
    many for each.

    Args:
        baselines: for each input a number or a tensor `(rows, ...)`, whose further dimensions
            broadcast to those of an example; 0 by default. Or a function of the inputs, or of
            nothing, that returns such.
        inputs: the batch.

    Attributes:
        tensors: the rows for each input, on its device and in its dtype; a number is one row.

    Raises:
        InputTypeError: neither numbers nor floating tensors.
        ShapeError: a wrong number of them, no rows, or rows in another form than the examples.
        InputError: NaN or infinite values.
    """

    def __init__(self, baselines: Any, inputs: Inputs) -> None:
        given = baselines(*_arguments(baselines, inputs)) if callable(baselines) else baselines
        values = given if isinstance(given, (tuple, list)) else (given,)
        if given is None:
            values = (0.0,) * len(inputs.tensors)
        if len(values) != len(inputs.tensors):
            raise ShapeError(
                f"baselines has {len(values)} entries for {len(inputs.tensors)} inputs; pass for"
                " each input a number or a tensor of rows"
            )
        pairs = enumerate(zip(values, inputs.tensors, strict=True))
        self.tensors = tuple(
            _rows(value, tensor, f"baselines[{k}]" if inputs.is_tuple else "baselines")
            for k, (value, tensor) in pairs
        )

    def chosen(self, numbers: Tensor) -> list[Tensor]:
        """Return for each input the rows that random numbers choose, `(*numbers.shape[:-1], ...)`.

        Args:
            numbers: within [0, 1), `(..., inputs)`. Inputs with equally many rows all go by the
                number of the first of them, so that their rows stay together.
        """
        counts = [len(rows) for rows in self.tensors]
        return [
            rows[_positions(numbers[..., counts.index(count)], count).to(rows.device)]
            for rows, count in zip(self.tensors, counts, strict=True)
        ]


def _positions(numbers: Tensor, count: int) -> Tensor:
    # The product with a number just below 1 may be rounded up to the count.
    return (numbers * count).long().clamp(max=count - 1)


def _arguments(function: Any, inputs: Inputs) -> Sequence[Any]:
    """Return what to call a function of baselines with: the inputs, unless it takes nothing."""
    try:
        takes_inputs = bool(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # A builtin such as torch.zeros, with all it needs bound.
        takes_inputs = False
    return [inputs.restore([tensor.detach() for tensor in inputs.tensors])] if takes_inputs else []


def _rows(value: Any, tensor: Tensor, name: str) -> Tensor:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _finite(as_value(value, tensor).reshape([1] * tensor.dim()))
    if not isinstance(value, Tensor):
        raise InputTypeError(
            f"{name} must be a number, a tensor of rows or a function that returns such, got"
            f" {type(value).__name__}{made_into_tensors(type(value))}"
        )
    if not value.is_floating_point():
        raise InputTypeError(
            f"{name} has dtype {value.dtype}, but is to replace an input of {tensor.dtype}; pass a"
            " floating tensor, prepared as the inputs are"
        )
    if not _has_form(value, tensor):
        raise ShapeError(
            f"{name} has shape {tuple(value.shape)}; pass at least one row in the form of an"
            f" example: ({', '.join(['rows', *map(str, tensor.shape[1:])])})"
        )
    return _finite(as_value(value, tensor))


def _has_form(rows: Tensor, tensor: Tensor) -> bool:
    if rows.dim() != tensor.dim() or not len(rows):
        return False
    return all(a in (1, b) for a, b in zip(rows.shape[1:], tensor.shape[1:], strict=True))


def _finite(baseline: Tensor) -> Tensor:
    # What has no values fails later, where the model runs, and says which device is meant.
    if not baseline.is_meta and not bool(baseline.isfinite().all()):
        raise InputError("baselines hold NaN or infinite values; pass finite ones")
    return baseline

"""What a model makes of perturbed copies: its scores, and the values of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.core.select import find_layers
from torchattr.core.types import Forward, Layers, OutputKey
from torchattr.errors import LayerError, OutputError
from torchattr.layers import TapPoint, Trace
from torchattr.methods import repeat_arguments


class ModelValues:
    """The scores of a model and the values of some layers, for a batch and copies of it.

    Args:
        model: the module or function to run.
        inputs: the batch.
        arguments: its further positional arguments.
        key: which entry of its output holds the scores.
        layers: the layers whose values are read, by any selection; `None` reads none.
    """

    def __init__(
        self,
        model: Forward,
        inputs: Inputs,
        arguments: Sequence[Any],
        key: OutputKey,
        layers: Layers | None,
    ) -> None:
        self._model, self._inputs, self._arguments, self._key = model, inputs, arguments, key
        found = {} if layers is None else find_layers(model, layers)
        self._taps = {name: TapPoint(module) for name, module in found.items()}

    def of(self, perturbed: Sequence[Tensor], copies: int) -> tuple[Tensor, Tensor | None]:
        """Return scores `(copies, N, classes)`, and values `(copies, N, elements)` if any are read.

        Raises:
            OutputError: the scores do not have one row for each example.
            LayerError: a layer did not run, or its values do not have such rows.
        """
        trace = Trace(
            self._model,
            perturbed,
            repeat_arguments(self._arguments, copies, self._inputs.batch_size),
            taps=list(self._taps.values()),
            key=self._key,
            differentiable=False,
        )
        rows = (copies, self._inputs.batch_size)
        output = trace.output.detach()
        if output.dim() != 2 or len(output) != copies * self._inputs.batch_size:
            raise OutputError(
                "one row of scores (N, classes) is needed for each example, but the model returned"
                f" the shape {tuple(output.shape)} for {copies * self._inputs.batch_size} examples;"
                " name its scores with output=..."
            )
        return output.unflatten(0, rows), self._values(trace, rows)

    def _values(self, trace: Trace, rows: tuple[int, int]) -> Tensor | None:
        if not self._taps:
            return None
        found = [
            _flat(name, value, rows)
            for name, tap in self._taps.items()
            for value in _tensors(name, trace.calls(tap))
        ]
        return torch.cat(found, dim=2)


def _tensors(name: str, calls: Sequence[Any]) -> list[Tensor]:
    """Return the values of each call of a layer.

    Raises:
        LayerError: it did not run.
    """
    if not calls:
        raise LayerError(f"layer {name!r} did not run, so it has no values; choose another layer")
    return [value for call in calls for value in call.values]


def _flat(name: str, value: Tensor, rows: tuple[int, int]) -> Tensor:
    count = rows[0] * rows[1]
    if value.dim() == 0 or len(value) != count:
        raise LayerError(
            f"layer {name!r} returned the shape {tuple(value.shape)} for {count} examples, but one"
            " row is needed for each; choose another layer"
        )
    return value.detach().reshape(*rows, -1)

"""What an image is changed for: a class, a neuron, a channel or a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from torch import Tensor, nn

from torchattr._types import Forward, Layer, OutputKey, SingleTarget
from torchattr.errors import InputError, LayerError
from torchattr.inspect.reach import any_output
from torchattr.layers import Place, Trace
from torchattr.methods.neuron import last_call, select_neuron
from torchattr.outputs import select_output
from torchattr.select import find_layer
from torchattr.targets import Neuron, select_scores

Objective: TypeAlias = "SingleTarget | Neuron | tuple[Layer, int] | Layer"


class Goal:
    """An objective, made ready to be measured in each forward.

    Args:
        model: the model.
        objective: see :func:`torchattr.maximise`.
        key: which entry of the model's output holds the scores.

    Raises:
        InputError: no objective.
        LayerError: an unknown layer.
    """

    def __init__(self, model: Forward, objective: Any, key: OutputKey) -> None:
        if objective is None:
            raise InputError(
                "objective is missing; name a class, (layer, channel), a layer or a Neuron"
            )
        layer, self._measure = _understood(objective)
        self._model, self._key = model, key
        self._place = None if layer is None else _place(model, layer, objective)

    def trace(self, image: Tensor, arguments: Sequence[Any]) -> Trace:
        """Run the model on an image."""
        places = [] if self._place is None else [self._place]
        return Trace(self._model, (image,), arguments, places=places, key=self._scores)

    def measure(self, trace: Trace) -> Tensor:
        """Give one value per example, connected to the graph."""
        return self._measure(trace if self._place is None else last_call(trace, self._place))

    def _scores(self, output: Any) -> Tensor:
        if self._place is None:
            return select_output(output, self._key)
        return any_output(output)


def _understood(objective: Any) -> tuple[Layer | None, Callable[[Any], Tensor]]:
    if isinstance(objective, Neuron):
        return objective.layer, lambda captured: select_neuron(captured, objective.selector)
    if isinstance(objective, (str, nn.Module)):
        return objective, lambda captured: _energy(_only(captured))
    if (
        isinstance(objective, tuple)
        and len(objective) == 2
        and isinstance(objective[0], (str, nn.Module))
    ):
        return objective[0], lambda captured: _channel(_only(captured), objective[1])
    return None, lambda trace: select_scores(trace.output, objective)


def _place(model: Forward, layer: Layer, objective: Any) -> Place:
    of_input = isinstance(objective, Neuron) and objective.of_input
    return Place(find_layer(model, layer)[1], of_input)


def _only(captured: Any) -> Tensor:
    if len(captured.values) != 1:
        raise LayerError(
            f"the layer gives {len(captured.values)} tensors; say what to maximise with"
            " ta.Neuron(layer, callable)"
        )
    return captured.values[0]


def _energy(values: Tensor) -> Tensor:
    return values.flatten(1).square().mean(1)


def _channel(values: Tensor, channel: Any) -> Tensor:
    size = values.shape[1] if values.dim() > 1 else 0
    if type(channel) is not int or not -size <= channel < size:
        raise InputError(
            f"channel {channel!r} is out of range for a layer of shape {tuple(values.shape)};"
            f" allowed are 0 to {size - 1}"
        )
    return values[:, channel].reshape(len(values), -1).mean(1)

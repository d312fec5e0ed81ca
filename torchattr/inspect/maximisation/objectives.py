"""Objectives of activation maximisation: a class, a neuron, a channel or a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from torch import Tensor, nn

from torchattr.core.outputs import any_output, select_output
from torchattr.core.select import find_layer
from torchattr.core.targets import Neuron, select_scores
from torchattr.core.types import Forward, Layer, OutputKey, SingleTarget
from torchattr.errors import InputError, LayerError
from torchattr.inspect.map_layout import maps_layout, shapes_of
from torchattr.layers import Captured, Layout, TapPoint, Trace
from torchattr.methods import last_call, select_neuron

Objective: TypeAlias = "SingleTarget | Neuron | tuple[Layer, int] | Layer"


class Goal:
    """An objective that is measured in each forward.

    Args:
        model: the model.
        objective: see :func:`torchattr.maximise`.
        key: key of the scores in the model's output.

    Raises:
        InputError: no objective.
        LayerError: an unknown layer.
    """

    def __init__(self, model: Forward, objective: Any, key: OutputKey) -> None:
        if objective is None:
            raise InputError(
                "objective is missing; pass a class, (layer, channel), a layer or a Neuron"
            )
        layer, self._measured = _understood(objective)
        self._model, self._key = model, key
        self._tap = None if layer is None else _tap(model, layer, objective)

    def trace(self, image: Tensor, arguments: Sequence[Any]) -> Trace:
        """Run the model on an image."""
        taps = [] if self._tap is None else [self._tap]
        return Trace(self._model, (image,), arguments, taps=taps, key=self._scores)

    def measure(self, trace: Trace, image: Tensor) -> Tensor:
        """Return one value per example of the image, connected to the graph."""
        ran = trace if self._tap is None else last_call(trace, self._tap)
        return self._measured(ran, image)

    def _scores(self, output: Any) -> Tensor:
        if self._tap is None:
            return select_output(output, self._key)
        return any_output(output)


def _understood(objective: Any) -> tuple[Layer | None, Callable[[Any, Tensor], Tensor]]:
    if isinstance(objective, Neuron):
        return objective.layer, lambda captured, _: select_neuron(captured, objective.selector)
    if isinstance(objective, (str, nn.Module)):
        return objective, _energy
    if (
        isinstance(objective, tuple)
        and len(objective) == 2
        and isinstance(objective[0], (str, nn.Module))
    ):
        return objective[0], lambda captured, image: _channel(captured, image, objective[1])
    return None, lambda trace, _: select_scores(trace.output, objective)


def _tap(model: Forward, layer: Layer, objective: Any) -> TapPoint:
    of_input = isinstance(objective, Neuron) and objective.of_input
    return TapPoint(find_layer(model, layer)[1], of_input, with_layout=True)


def _energy(captured: Captured, image: Tensor) -> Tensor:
    """Return the mean square of a layer for each example, whichever dimension holds the batch."""
    values, (layout,) = _only(captured), captured.layouts
    values = values.movedim(layout.batch, 0) if isinstance(layout, Layout) else values
    if not values.dim() or len(values) != len(image):
        why = f"its rows are not the {len(image)} images (they may be frames or regions)"
        raise _unmeasured(captured, why)
    return values.flatten(1).square().mean(1)


def _channel(captured: Captured, image: Tensor, channel: Any) -> Tensor:
    """Return the spatial mean of a channel for each example."""
    values, layout = _only(captured), maps_layout(captured, (image,))
    if isinstance(layout, str):
        raise _unmeasured(captured, f"its channels are not known: {layout}")
    maps = layout.to_grid(values)
    size = maps.shape[1]
    if type(channel) is not int or not -size <= channel < size:
        raise InputError(
            f"channel {channel!r} is out of range for a layer of shape {tuple(values.shape)};"
            f" allowed are 0 to {size - 1}"
        )
    return maps[:, channel].reshape(len(maps), -1).mean(1)


def _only(captured: Captured) -> Tensor:
    if len(captured.values) != 1:
        raise _unmeasured(captured, f"it returns {len(captured.values)} tensors")
    return captured.values[0]


def _unmeasured(captured: Captured, why: str) -> LayerError:
    return LayerError(
        f"the layer returned {shapes_of(captured)}, and {why}; choose another layer or one inside"
        " it, or define the objective by ta.Neuron(layer, callable)"
    )

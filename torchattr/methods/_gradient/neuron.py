"""Neurons of a layer as what is explained, and the call of the layer that they belong to."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchattr.core.select import find_layer
from torchattr.core.targets import Neuron, select_scores
from torchattr.core.types import Forward
from torchattr.errors import LayerError, TargetError
from torchattr.layers import Captured, TapPoint
from torchattr.methods._gradient.forward_result import ForwardResult


def neuron_place(model: Forward, target: Any) -> TapPoint | None:
    """Give where the neuron of a target is; `None` for a target of another kind."""
    if not isinstance(target, Neuron):
        return None
    return TapPoint(find_layer(model, target.layer)[1], target.of_input)


def last_call(trace: ForwardResult, place: TapPoint) -> Captured:
    """Give the last call that was recorded at a place.

    Raises:
        LayerError: the forward never ran that module.
    """
    calls = trace.calls(place)
    if not calls:
        raise LayerError(
            f"the layer {type(place.module).__name__} did not run in this forward (it may be used"
            " in training only, or its weights are read without calling it); choose another layer"
        )
    return calls[-1]


def select_neuron(captured: Captured, selector: Any) -> Tensor:
    """Give one value per example: what `selector` takes of a layer's values, summed.

    Raises:
        TargetError: the selector does not fit the layer's shape, or the layer gives several
            tensors and the selector is no callable.
    """
    if callable(selector):
        scores = selector(captured.restore(captured.values))
        return select_scores(captured.values[0], lambda _: scores)
    if len(captured.values) != 1:
        raise TargetError(
            f"the neuron selector {selector!r} does not say which of the layer's"
            f" {len(captured.values)} tensors it means; pass a callable from all of them to one"
            " value per example"
        )
    values = captured.values[0]
    index = selector if isinstance(selector, tuple) else (selector,)
    if len(index) != values.dim() - 1:
        raise TargetError(
            f"the neuron selector {selector!r} has {len(index)} indices, but the layer's values of"
            f" shape {tuple(values.shape)} have {values.dim() - 1} dimensions after the batch"
        )
    whole = (slice(None), *index)
    try:
        taken = values[whole]
    except IndexError as error:
        raise TargetError(
            f"the neuron selector {selector!r} is out of range for the layer's values of shape"
            f" {tuple(values.shape)}"
        ) from error
    return taken.reshape(len(values), -1).sum(1)

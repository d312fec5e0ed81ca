"""What a layer gives."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import as_arguments, as_inputs
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.layers import TapPoint, Trace
from torchattr.methods._gradient.layer_choice import Calls, LayerChoice
from torchattr.methods._gradient.target_reader import last_call
from torchattr.methods.base import Attribution


class LayerActivation(Attribution):
    """The output (or input) of a layer, as the model computed it: `A`.

    A tuple where the layer gives a tuple; a dict by name for several layers.

    It is *not* an attribution: it does not know any target.

    Args:
        layer: as for :class:`GradCAM`.
        calls: as for :class:`GradCAM`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU())
    >>> ta.LayerActivation(model, "0").attribute(torch.ones(1, 3)).shape
    torch.Size([1, 4])
    """

    def __init__(
        self,
        model: Forward,
        layer: Layers | None = None,
        *,
        calls: Calls | None = None,
        output: OutputKey = None,
    ) -> None:
        super().__init__(model, output=output)
        self._layers = LayerChoice(model, layer, calls)

    def attribute(
        self,
        inputs: Tensors,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
    ) -> Any:
        """Give the layer's values; `attribute_to_layer_input` takes what goes into it."""
        given = as_inputs(inputs, differentiable=False)
        arguments = as_arguments(additional_forward_args)
        layers = self._layers.resolve(given, arguments, self.output)
        places = {
            name: TapPoint(module, attribute_to_layer_input) for name, module in layers.items()
        }
        trace = Trace(
            self.model,
            given.tensors,
            arguments,
            places=list(places.values()),
            key=_whatever,
            differentiable=False,
        )
        found = {}
        for name, place in places.items():
            last_call(trace, place)
            values = [call.restore(call.values) for call in trace.calls(place)]
            found[name] = self._layers.pick(name, values)
        return self._layers.form(found)


def _whatever(output: Any) -> Tensor:
    """Take any output: activations do not depend on which of its entries holds the scores."""
    return torch.empty(0)

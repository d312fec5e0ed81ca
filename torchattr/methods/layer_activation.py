"""The activation of a layer."""

from __future__ import annotations

from typing import Any

from torchattr.core.inputs import as_arguments, as_inputs
from torchattr.core.outputs import any_output
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.layers import TapPoint, Trace
from torchattr.methods._gradient.at_layers import values_at
from torchattr.methods._gradient.layer_choice import Calls, LayerChoice
from torchattr.methods.base import Attribution


class LayerActivation(Attribution):
    """The output (or input) of a layer, as the model computed it: `A`.

    A tuple if the layer returns a tuple; a dict by name for several layers.

    It is *not* an attribution: it does not depend on any target.

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

    def _settings(self) -> dict[str, Any]:
        return {**self._layers.settings, **super()._settings()}

    def attribute(
        self,
        inputs: Tensors,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
    ) -> Any:
        """Return the layer's output, or its input if `attribute_to_layer_input`."""
        given = as_inputs(inputs, differentiable=False)
        arguments = as_arguments(additional_forward_args)
        layers = self._layers.resolve(given, arguments, self.output)
        taps = {name: TapPoint(module, attribute_to_layer_input) for name, module in layers.items()}
        trace = Trace(
            self.model,
            given.tensors,
            arguments,
            taps=list(taps.values()),
            key=any_output,
            differentiable=False,
        )
        return values_at(self._layers, taps, trace)

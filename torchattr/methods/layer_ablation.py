"""The base of the methods that replace features of a layer's values."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from torchattr.core.inputs import as_arguments, as_inputs
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.layers import TapPoint
from torchattr.methods._gradient.layer_choice import LayerChoice
from torchattr.methods._perturbation.from_layer import FromLayer
from torchattr.methods.ablation import Ablation
from torchattr.methods.base import Attribution


class LayerAblation(Attribution):
    """A method that replaces features of a layer's output or input.

    Args:
        layer: as for :class:`GradCAM`. If it is called several times, its last values are replaced.
    """

    def __init__(
        self, model: Forward, layer: Layers | None = None, *, output: OutputKey = None
    ) -> None:
        super().__init__(model, output=output)
        self._layers = LayerChoice(model, layer, None)

    @abstractmethod
    def _ablation(self, model: Forward) -> Ablation:
        """Return the method for a model that is a function of the layer's values."""

    def _settings(self) -> dict[str, Any]:
        return {**self._layers.settings, **super()._settings()}

    def _of_layers(
        self,
        inputs: Tensors,
        additional_forward_args: Any,
        of_input: bool,
        options: Mapping[str, Any],
    ) -> Any:
        """Return the attributions of the layer's values, or a dict by name for several layers.

        Args:
            inputs: those of the model.
            additional_forward_args: those of the model.
            of_input: whether to replace the layer's input instead of its output.
            options: further arguments of the method.
        """
        given = as_inputs(inputs, differentiable=False)
        arguments = as_arguments(additional_forward_args)
        layers = self._layers.resolve(given, arguments, self.output, options.get("target"))
        found = {}
        for name, module in layers.items():
            part = FromLayer(self.model, TapPoint(module, of_input), given, arguments)
            self._layers.pick(name, range(part.calls))  # Warns of several calls.
            found[name] = self._of_layer(part, options)
        return self._layers.form(found)

    def _of_layer(self, part: FromLayer, options: Mapping[str, Any]) -> Any:
        attribute: Callable[..., Any] = self._ablation(part.forward).attribute
        results = attribute(part.values, additional_forward_args=part.arguments, **options)
        return part.restore(results)

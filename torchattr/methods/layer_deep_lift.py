"""DeepLIFT at layers: what the difference of each value from a baseline contributes."""

from __future__ import annotations

from typing import Any

from torchattr.core.inputs import as_arguments, as_inputs
from torchattr.core.targets import Target
from torchattr.core.types import Baselines, Forward, Layers, OutputKey, Tensors
from torchattr.methods._gradient.attributed import AttributedLayers
from torchattr.methods._gradient.layer_choice import Calls, LayerChoice
from torchattr.methods.deep_lift import CustomAttribution, RescaleAttribution


class LayerDeepLift(RescaleAttribution):
    """`(z - z0) · m` of a layer's values z, shaped like its output.

    :class:`DeepLift` (Shrikumar, Greenside and Kundaje 2017, arXiv:1704.02685) at a layer: z0 are
    its values for the baseline, and m the multipliers down to it. A tuple if the layer returns a
    tuple; a dict by name for several layers, all from the same two forwards.

    If all of the score passes the layer, the attributions sum to `s(x) - s(x0)` up to rounding. For
    a layer beside others they are its part, and `return_convergence_delta` returns the rest. They
    are *not* independent of the baseline: values that are the same for it get 0.

    Args:
        layer: as for :class:`GradCAM`.
        multiply_by_inputs: multiply by `z - z0`; otherwise the multipliers themselves.
        eps: as for :class:`DeepLift`.
        calls: as for :class:`GradCAM`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> maps, delta = ta.LayerDeepLift(model, "0").attribute(
    ...     torch.ones(1, 3), target=1, return_convergence_delta=True
    ... )
    >>> maps.shape, bool(delta.abs() < 1e-5)
    (torch.Size([1, 4]), True)
    """

    def __init__(
        self,
        model: Forward,
        layer: Layers | None = None,
        multiply_by_inputs: bool = True,
        eps: float | None = None,
        *,
        calls: Calls | None = None,
        output: OutputKey = None,
    ) -> None:
        super().__init__(model, multiply_by_inputs, eps, output=output)
        self._layers = LayerChoice(model, layer, calls)

    def _settings(self) -> dict[str, Any]:
        return {**self._layers.settings, **super()._settings()}

    def attribute(
        self,
        inputs: Tensors,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
        *,
        allow_unused: bool = False,
    ) -> Any:
        """Return the attributions of each layer, in the form of its output.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            baselines: as for :meth:`DeepLift.attribute`.
            target: as for every method; the predicted class is that of the input.
            additional_forward_args: as for every method; the baselines run with the same.
            return_convergence_delta: return `(attributions, delta)`: for each example also how far
                the sum of a layer's contributions is from `s(x) - s(x0)`.
            attribute_to_layer_input: use the layer's input instead of its output.
            custom_attribution_func: computes a layer's attributions from its multipliers and its
                values for the inputs and for the baselines, each a tuple with a tensor for each of
                its outputs; a tuple in turn.
            allow_unused: give zeros to a layer that the target does not depend on, instead of
                refusing it.

        Raises:
            LayerError: an unknown layer, or one that did not run.
            InputTypeError, ShapeError, InputError, ModelError: as for :meth:`DeepLift.attribute`.
        """
        given = as_inputs(inputs)
        arguments = as_arguments(additional_forward_args)
        of = AttributedLayers(
            self._layers,
            given,
            arguments,
            self.output,
            target,
            of_input=attribute_to_layer_input,
            allow_unused=allow_unused,
        )
        custom = custom_attribution_func
        found, delta = self._compared(given, baselines, target, arguments, custom, of)
        return (found, delta) if return_convergence_delta else found

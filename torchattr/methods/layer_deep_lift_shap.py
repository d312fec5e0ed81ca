"""DeepLIFT at layers, averaged over baselines."""

from __future__ import annotations

from typing import Any

from torchattr.core.inputs import as_arguments, as_inputs
from torchattr.core.targets import Target
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.methods._gradient.attributed import AttributedLayers
from torchattr.methods._gradient.baselines import BaselineDistribution
from torchattr.methods._gradient.layer_choice import Calls, LayerChoice
from torchattr.methods.deep_lift import CustomAttribution
from torchattr.methods.deep_lift_shap import AveragedRescaleAttribution


class LayerDeepLiftShap(AveragedRescaleAttribution):
    """The mean of :class:`LayerDeepLift` over baselines, shaped like the layer's output.

    :class:`DeepLiftShap` (Lundberg and Lee 2017, arXiv:1705.07874) at a layer: `(z - z0) · m`,
    where z0 are its values for a baseline. A tuple if the layer returns a tuple; a dict by name for
    several layers, all from the same forwards.

    If all of the score passes the layer, the attributions sum to the score minus its mean over the
    baselines, up to rounding. They are *not* SHAP values where the layer's values interact.

    Args:
        layer: as for :class:`GradCAM`.
        multiply_by_inputs: multiply by `z - z0`; otherwise the mean of the multipliers.
        eps: as for :class:`DeepLift`.
        calls: as for :class:`GradCAM`.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> maps, delta = ta.LayerDeepLiftShap(model, "0").attribute(
    ...     torch.ones(2, 3), torch.rand(20, 3), target=1, return_convergence_delta=True
    ... )
    >>> maps.shape, delta.shape, bool(delta.abs().max() < 1e-5)
    (torch.Size([2, 4]), torch.Size([40]), True)
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
        baselines: BaselineDistribution = None,
        target: Target = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        custom_attribution_func: CustomAttribution | None = None,
        *,
        internal_batch_size: int | None = None,
    ) -> Any:
        """Return the attributions of each layer, in the form of its output.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            baselines: as for :meth:`DeepLiftShap.attribute`.
            target: as for every method; the predicted class is that of the input.
            additional_forward_args: as for every method; the baselines of an example run with its.
            return_convergence_delta: return `(attributions, delta)`: for each example and baseline,
                those of an example side by side, how far the sum of a layer's contributions is from
                `s(x) - s(x0)`.
            attribute_to_layer_input: use the layer's input instead of its output.
            custom_attribution_func: as for :meth:`LayerDeepLift.attribute`; its results are
                averaged.
            internal_batch_size: as for :meth:`DeepLiftShap.attribute`.

        Raises:
            LayerError: an unknown layer, one that did not run, or one whose first dimension is not
                the batch.
            InputTypeError, ShapeError, InputError: as for :meth:`DeepLiftShap.attribute`.
            OutputError, ModelError, OutOfMemory: as for :meth:`DeepLiftShap.attribute`.
        """
        given = as_inputs(inputs)
        arguments = as_arguments(additional_forward_args)
        of_input = attribute_to_layer_input
        of = AttributedLayers(
            self._layers, given, arguments, self.output, target, of_input=of_input
        )
        custom = custom_attribution_func
        found, delta = self._averaged(
            given, baselines, target, arguments, custom, of, internal_batch_size
        )
        return (found, delta) if return_convergence_delta else found

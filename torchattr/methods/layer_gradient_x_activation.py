"""A layer's gradient times its activation: what each of its values contributes to first order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torchattr.core.inputs import Inputs
from torchattr.core.targets import Target
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.methods._gradient.at_layers import at_layers, passes_at
from torchattr.methods._gradient.backward_pass import Pass, PassResult
from torchattr.methods._gradient.layer_choice import Calls, LayerChoice
from torchattr.methods._gradient.memory import Memory
from torchattr.methods.base import GradientAttribution


class LayerGradientXActivation(GradientAttribution):
    """`z · ∂s/∂z` of a layer's values z, shaped like its output.

    :class:`InputXGradient` at a layer instead of the inputs (Shrikumar et al. 2016,
    arXiv:1605.01713). A tuple if the layer returns a tuple; a dict by name for several layers, all
    from one forward.

    It sums to the score only where what follows the layer is linear without a bias. It is *not*
    what the score would lose without the value, unless that, too.

    Args:
        layer: as for :class:`GradCAM`.
        multiply_by_inputs: multiply by the values; otherwise the gradient itself.
        calls: as for :class:`GradCAM`.
        rules: rules for the backward, as for :class:`GradientAttribution`; by default none, so it
            is the plain gradient.
        strict: as for :class:`GradientAttribution`.
        memory: as for :class:`GradientAttribution`.

    Raises:
        LayerError: an unknown layer, or one that did not run.
        DisconnectedError: the graph does not connect the target with the layer.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> found = ta.LayerGradientXActivation(model, "1").attribute(torch.ones(1, 3), target=1)
    >>> score = found.sum() + model[2].bias[1]
    >>> found.shape, torch.allclose(score, model(torch.ones(1, 3))[0, 1])
    (torch.Size([1, 4]), True)
    """

    differentiates_inputs: ClassVar[bool] = False

    def __init__(
        self,
        model: Forward,
        layer: Layers | None = None,
        multiply_by_inputs: bool = True,
        *,
        calls: Calls | None = None,
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
        memory: Memory = "auto",
    ) -> None:
        super().__init__(model, rules=rules, output=output, strict=strict, memory=memory)
        self.multiply_by_inputs = multiply_by_inputs
        self._layers = LayerChoice(model, layer, calls)

    def attribute(
        self,
        inputs: Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        *,
        allow_unused: bool = False,
    ) -> Any:
        """Return the attributions of each layer, in the form of its output.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            target: as for every method.
            additional_forward_args: as for every method.
            attribute_to_layer_input: use the layer's input instead of its output.
            allow_unused: give zeros to a layer that the target does not depend on, instead of
                refusing it.
        """
        return self._attribute(
            inputs,
            target,
            additional_forward_args,
            allow_unused=allow_unused,
            attribute_to_layer_input=attribute_to_layer_input,
        )

    @property
    def combines_at_once(self) -> bool:
        return True

    def passes(
        self,
        inputs: Inputs,
        arguments: Sequence[Any],
        *,
        target: Any = None,
        attribute_to_layer_input: bool = False,
        **options: Any,
    ) -> Sequence[Pass]:
        of_input = attribute_to_layer_input
        return passes_at(
            self._layers, self.table, inputs, arguments, self.output, target, of_input=of_input
        )

    def combine(self, inputs: Inputs, results: Sequence[PassResult], **options: Any) -> Any:
        return at_layers(self._layers, results, self._of_call)

    def _of_call(self, result: PassResult, number: int) -> Any:
        call, gradients = result.calls[number], result.gradients[number]
        if not self.multiply_by_inputs:
            return call.restore(gradients)
        pairs = zip(call.values, gradients, strict=True)
        return call.restore([value * gradient for value, gradient in pairs])

    def _settings(self) -> dict[str, Any]:
        by_inputs = None if self.multiply_by_inputs else False
        return {**self._layers.settings, "multiply_by_inputs": by_inputs, **super()._settings()}

"""Layer-wise relevance propagation down to a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.core.targets import Target
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.methods._gradient.at_layers import at_layers, passes_at
from torchattr.methods._gradient.backward_pass import Pass, PassResult
from torchattr.methods._gradient.layer_choice import Calls, LayerChoice
from torchattr.methods._relevance.by_composite import RelevanceByComposite
from torchattr.methods._relevance.composites import CompositeChoice
from torchattr.methods._relevance.relevance import Start, refuse_half


class LayerLRP(RelevanceByComposite):
    """The relevance of a layer's values: where :class:`LRP` has the score when it passes there.

    `R = y · g` at the layer's output `y`, shaped like it; at its input with
    `attribute_to_layer_input`. Several layers give a dict by name, all from one forward. A
    convolution that only a batch-norm reads is one operation with it, so both have the relevance of
    the norm's output.

    The sum is what of the score passes the layer, so for a layer beside others a part of it. It is
    *not* the relevance of a layer's weights.

    Args:
        layer: as for :class:`GradCAM`.
        calls: as for :class:`GradCAM`.

    All others, and what is raised, as for :class:`LRP` (doi:10.1371/journal.pone.0130140).

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    >>> ta.LayerLRP(model, "0").attribute(torch.ones(1, 3), target=1).shape
    torch.Size([1, 4])
    """

    def __init__(
        self,
        model: Forward,
        layer: Layers | None = None,
        composite: CompositeChoice = "epsilon_plus",
        *,
        calls: Calls | None = None,
        zero_params: str | Sequence[str] | None = None,
        epsilon: float = 1e-6,
        gamma: float = 0.25,
        low: Tensor | float | None = None,
        high: Tensor | float | None = None,
        start: Start = "score",
        rules: Mapping[str, Any] | None = None,
        output: OutputKey = None,
        strict: bool = True,
    ) -> None:
        super().__init__(
            model,
            composite,
            zero_params=zero_params,
            epsilon=epsilon,
            gamma=gamma,
            low=low,
            high=high,
            start=start,
            rules=rules,
            output=output,
            strict=strict,
        )
        self._layers = LayerChoice(model, layer, calls)

    def attribute(
        self,
        inputs: Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
    ) -> Any:
        """Return the relevance of each layer, in the form of its output.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            target: as for every method.
            additional_forward_args: as for every method.
            attribute_to_layer_input: return that of the layer's input instead.
        """
        of_input = {"attribute_to_layer_input": attribute_to_layer_input}
        return self._attribute(inputs, target, additional_forward_args, **of_input)

    def passes(
        self,
        inputs: Inputs,
        arguments: Sequence[Any],
        *,
        target: Any = None,
        attribute_to_layer_input: bool = False,
        **options: Any,
    ) -> Sequence[Pass]:
        refuse_half(inputs)
        of_input = attribute_to_layer_input
        return passes_at(
            self._layers, self.composite, inputs, arguments, self.output, target, of_input=of_input
        )

    def combine(self, inputs: Inputs, results: Sequence[PassResult], **options: Any) -> Any:
        return at_layers(self._layers, results, self._of_call)

    def _of_call(self, result: PassResult, number: int) -> Any:
        return result.calls[number].restore(self._shares(result, number))

    def _settings(self) -> dict[str, Any]:
        return {**self._layers.settings, **super()._settings()}

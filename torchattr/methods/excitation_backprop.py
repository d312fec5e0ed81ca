"""Excitation backprop, also contrastive: relevance by positive weights alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.core.targets import Target
from torchattr.core.types import Forward, Layers, OutputKey, Tensors
from torchattr.layers import Composite
from torchattr.methods._gradient.at_layers import at_layers, passes_at
from torchattr.methods._gradient.backward_pass import Pass, PassResult
from torchattr.methods._gradient.grids import (
    NOT_INFERRED,
    Grids,
    LayoutChoice,
    checked_layout,
    warn_of_numbers,
)
from torchattr.methods._gradient.layer_choice import Calls, LayerChoice
from torchattr.methods._relevance.composites import RuleSettings, composite_of
from torchattr.methods._relevance.relevance import RelevancePropagation, refuse_half
from torchattr.methods.registry import register_method


@register_method("excitation_backprop")
class ExcitationBackprop(RelevancePropagation):
    """The probability that a walk down positive weights ends at a value: `Σ_i P_i w⁺ x_j / z⁺`.

    It starts at the target with probability 1, and at each convolution or linear layer chooses
    among the inputs in proportion to their positive contributions `w⁺ x`. Zhang et al. 2016
    (arXiv:1608.00507). Biases take nothing, so that the map sums to 1 unless the walk meets units
    that nothing excites.

    `contrast` takes off the walk that starts at the target's opposite, the last layer with weights
    of the other sign: `max(P - P̄, 0)`. What excites any class then cancels.

    At a layer the result is a map at its resolution, `(N, 1, h, w)`, summed over the channels;
    several layers give a dict by name. For the inputs it is shaped like them.

    It is *not* evidence against anything: inhibition by negative weights does not appear, and only
    the contrast depends much on the target.

    Args:
        layer: as for :class:`GradCAM`; `None` means the inputs.
        contrast: whether the walk from the opposite is taken off.
        calls: as for :class:`GradCAM`.
        layout: as for :class:`GradCAM`.
        output: as for every method, see :class:`Attribution`.
        strict: as for :class:`LRP`.

    Raises:
        LayerError: as for :class:`GradCAM`.
        NoRuleMatched: an operation that is neither linear nor known carries relevance.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(
    ...     torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    ... )
    >>> method = ta.ExcitationBackprop(model, "1", contrast=True)
    >>> method.attribute(torch.rand(2, 3, 8, 8), target=1).shape
    torch.Size([2, 1, 6, 6])
    """

    def __init__(
        self,
        model: Forward,
        layer: Layers | None = None,
        *,
        contrast: bool = False,
        calls: Calls | None = None,
        layout: LayoutChoice = None,
        output: OutputKey = None,
        strict: bool = True,
    ) -> None:
        settings = RuleSettings(epsilon=0.0, zero_bias=True)
        super().__init__(
            model, "excitation_backprop", settings, start="one", output=output, strict=strict
        )
        self._opposite: Composite | None = None
        if contrast:
            self._opposite = composite_of(
                "excitation_backprop_opposite", settings, model, strict=strict
            )
        self._layers = None if layer is None else LayerChoice(model, layer, calls)
        self._layout: LayoutChoice = checked_layout(layout)
        self._chosen = {
            "layer": layer,
            "calls": calls,
            "contrast": contrast or None,
            "layout": layout,
        }

    def attribute(
        self,
        inputs: Tensors,
        target: Target = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
    ) -> Any:
        """Return the map of each layer, or the probability of each input.

        Args:
            inputs: as for every method, see :class:`Attribution`.
            target: as for every method.
            additional_forward_args: as for every method.
            attribute_to_layer_input: use the layer's input instead of its output.
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
        tables = [self.composite, *([self._opposite] if self._opposite is not None else [])]
        if self._layers is None:
            return [Pass(table) for table in tables]
        at = partial(
            passes_at,
            self._layers,
            inputs=inputs,
            arguments=arguments,
            key=self.output,
            target=target,
            of_input=attribute_to_layer_input,
            with_layout=self._layout is None,
        )
        return [request for table in tables for request in at(table=table)]

    def combine(self, inputs: Inputs, results: Sequence[PassResult], **options: Any) -> Any:
        count = len(results) // (1 if self._opposite is None else 2)
        walks, opposite = results[:count], dict(enumerate(results[count:]))
        others = {id(walk): opposite.get(number) for number, walk in enumerate(walks)}
        if self._layers is None:
            return inputs.restore(_taken_off(self._shares, walks[0], others[id(walks[0])], 0))

        def of_call(result: PassResult, number: int) -> Any:
            read = partial(self._maps, Grids(result.name, inputs, self._layout))
            maps = _taken_off(read, result, others[id(result)], number)
            warn_of_numbers(self.title, result.name, maps)
            return result.calls[number].restore(maps)

        return at_layers(self._layers, walks, of_call)

    def _maps(self, grids: Grids, result: PassResult, number: int) -> list[Tensor]:
        """Return the map of each tensor of a call."""
        call = result.calls[number]
        layouts = call.layouts or (NOT_INFERRED,) * len(call.values)
        shares = zip(call.values, self._shares(result, number), layouts, strict=True)
        return [grids.of(value, share, layout)[1].sum(1, True) for value, share, layout in shares]

    def _settings(self) -> dict[str, Any]:
        return {**self._chosen, **super()._settings()}


def _taken_off(read: Any, result: PassResult, other: PassResult | None, number: int) -> Any:
    """Return what is read of one walk, less that of another, where it remains positive."""
    found = read(result, number)
    if other is None:
        return found
    pairs = zip(found, read(other, number), strict=True)
    return [(walk - opposite).clamp(min=0) for walk, opposite in pairs]

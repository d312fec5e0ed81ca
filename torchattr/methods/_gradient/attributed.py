"""What a method attributes to: the inputs, or the values of layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, final

from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.core.pytree import with_tensors
from torchattr.core.types import OutputKey
from torchattr.layers import RuleTable, TapPoint
from torchattr.methods._gradient.at_layers import at_layers, values_at
from torchattr.methods._gradient.backward_pass import Pass, PassResult
from torchattr.methods._gradient.forward_result import ForwardResult
from torchattr.methods._gradient.layer_choice import LayerChoice


class Attributed(ABC):
    """What one call of a method attributes to, whose results all have the same containers."""

    taps: Mapping[str, TapPoint]
    """Where forwards record it, by name."""
    is_complete: ClassVar[bool]
    """Whether all of the score passes it."""
    allow_unused: bool = False
    """Whether what the score does not depend on gets zeros."""

    @abstractmethod
    def passes(self, rules: RuleTable) -> list[Pass]:
        """Return the passes that read its gradients."""

    @abstractmethod
    def gradients(self, results: Sequence[PassResult]) -> Any:
        """Return its gradients."""

    @abstractmethod
    def values(self, forward: ForwardResult, inputs: Sequence[Tensor]) -> Any:
        """Return its values in a forward of the given inputs."""

    @abstractmethod
    def for_each(self, function: Callable[..., Any], *results: Any) -> Any:
        """Apply a function to what all of the score may pass: all inputs, or each layer."""


@final
class AttributedInputs(Attributed):
    """The inputs of the model, whose results are lists."""

    taps: Mapping[str, TapPoint] = {}
    is_complete: ClassVar[bool] = True

    def passes(self, rules: RuleTable) -> list[Pass]:
        return [Pass(rules)]

    def gradients(self, results: Sequence[PassResult]) -> Any:
        return list(results[0].gradients[0])

    def values(self, forward: ForwardResult, inputs: Sequence[Tensor]) -> Any:
        return [tensor.detach() for tensor in inputs]

    def for_each(self, function: Callable[..., Any], *results: Any) -> Any:
        return function(*results)


@final
class AttributedLayers(Attributed):
    """The values of layers, whose results have the form of their outputs.

    Args:
        layers: the layers.
        inputs: the batch.
        arguments: further arguments of the model.
        key: which entry of its output holds the scores.
        target: what is explained.
        of_input: whether the layers' inputs are read instead of their outputs.
        allow_unused: whether layers that the target does not depend on get zeros.
    """

    is_complete: ClassVar[bool] = False

    def __init__(
        self,
        layers: LayerChoice,
        inputs: Inputs,
        arguments: Sequence[Any],
        key: OutputKey,
        target: Any,
        *,
        of_input: bool,
        allow_unused: bool = False,
    ) -> None:
        self._layers, self.allow_unused = layers, allow_unused
        named = layers.resolve(inputs, arguments, key, target)
        self.taps = {name: TapPoint(module, of_input) for name, module in named.items()}

    def passes(self, rules: RuleTable) -> list[Pass]:
        return [Pass(rules, tap, name) for name, tap in self.taps.items()]

    def gradients(self, results: Sequence[PassResult]) -> Any:
        return at_layers(self._layers, results, _gradients)

    def values_in(self, results: Sequence[PassResult]) -> Any:
        """Return the values that passes read."""
        return at_layers(self._layers, results, _values)

    def values(self, forward: ForwardResult, inputs: Sequence[Tensor] = ()) -> Any:
        found = values_at(self._layers, self.taps, forward)
        return with_tensors(found, Tensor.detach)

    def for_each(self, function: Callable[..., Any], *results: Any) -> Any:
        if not self._layers.several:
            return function(*results)
        return {name: function(*(one[name] for one in results)) for name in results[0]}


def _values(result: PassResult, number: int) -> Any:
    return result.calls[number].restore(result.calls[number].values)


def _gradients(result: PassResult, number: int) -> Any:
    return result.calls[number].restore(result.gradients[number])

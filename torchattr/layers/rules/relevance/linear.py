"""Layer-wise relevance propagation through convolutions and linear layers.

With `z = W x + b`, `g` what comes back from above and `R = z · g` the relevance of the output, each
rule returns a `g` of the input whose relevance is `x · g`. Terms are quotients: the relevance over
a stabilised denominator goes back through weights that belong to positive and to negative inputs.
With `x⁺ = max(x, 0)`, `x⁻ = min(x, 0)`, the same for `W` and `b`, and `[ ]` the bias that
`zero_bias` leaves out:

| rule         | denominators                                      | weights for x > 0, x < 0   |
|--------------|---------------------------------------------------|----------------------------|
| `epsilon`    | `W x + [b]`                                       | `W`, `W`                   |
| `z_plus`     | `W⁺ x⁺ + W⁻ x⁻ + [b⁺]`                            | `W⁺`, `W⁻`                 |
| `z_minus`    | `W⁻ x⁺ + W⁺ x⁻ + [b⁻]`                            | `W⁻`, `W⁺`                 |
| `alpha_beta` | `W⁺ x⁺ + W⁻ x⁻ + [b⁺]`, times α                   | `W⁺`, `W⁻`                 |
|              | `W⁻ x⁺ + W⁺ x⁻ + [b⁻]`, times -β                  | `W⁻`, `W⁺`                 |
| `gamma`      | `A x⁺ + B x⁻ + [b + γ b⁺]` where z > 0            | `A = W + γ W⁺`, `B`        |
|              | `B x⁺ + A x⁻ + [b + γ b⁻]` where z < 0            | `B = W + γ W⁻`, `A`        |

Bach et al. 2015 (10.1371/journal.pone.0130140), Montavon et al. 2017 (1512.02479) and 2019
(10.1007/978-3-030-28954-6_10), Kohlbrenner et al. 2020 (1910.09840).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import isfinite
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchattr.core.arguments import plain_numbers
from torchattr.errors import RuleError
from torchattr.layers.composite import WEIGHTED
from torchattr.layers.ledger import Reason
from torchattr.layers.operations.operation import Call
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import LayerRule, batchable
from torchattr.layers.rules.relevance.affine import (
    AffineLayer,
    affine_backward,
    share_of_bias,
)
from torchattr.layers.rules.relevance.inputs import input_of, kept_input
from torchattr.layers.rules.relevance.terms import Flow, Passage, Term, Weights


def checked_parameter(value: Any, name: str) -> float:
    """Return a parameter of a rule, which is at least 0.

    Raises:
        RuleError: it is no number, negative, or too large for single precision.
    """
    value = plain_numbers(value)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise RuleError(f"{name} must be a number, got {type(value).__name__} {value!r}")
    largest = torch.finfo(torch.float32).max
    if not 0 <= value <= largest:
        if value < 0:
            needed = "not be negative"
        else:
            needed = f"be at most {largest:.1e}" if isfinite(value) else "be finite"
        raise RuleError(f"{name} must {needed}, got {value}")
    return float(value)


class RelevanceRule(LayerRule):
    """A rule of a convolution or linear layer, as a sum of quotients.

    Args:
        epsilon: what is added to denominators, with their sign.
        zero_bias: leave the bias out of the denominators, so that it takes no relevance.

    Raises:
        RuleError: a negative `epsilon`, with which denominators would cancel.
    """

    merges: ClassVar[bool] = True

    def __init__(self, epsilon: float = 1e-6, zero_bias: bool = False) -> None:
        self.epsilon = checked_parameter(epsilon, "epsilon")
        self.zero_bias = zero_bias

    def save(self, call: Call, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return (kept_input(self, call, x),)

    @abstractmethod
    def weights(self, layer: AffineLayer) -> Sequence[Weights]:
        """Return the weights of each term."""

    @abstractmethod
    def terms(
        self, layer: AffineLayer, weights: Sequence[Weights], x: Tensor, z: Tensor
    ) -> Iterator[Term]:
        """Yield the terms.

        Args:
            layer: the layer.
            weights: the weights of each term.
            x: its input.
            z: its output; where the signal passed the rectifier above, with zeros for other values
                than positive ones.
        """

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        passage = call.place.arrival.passage or self._passage(call, *saved)
        x = passage.x  # Not the gates, which nobody below needs.
        call.place.hand_down(lambda: x)
        found = [
            self._back(call, x, grad * flow.gate, Weights(flow.positive, flow.negative))
            for flow in passage.flows
        ]
        call.place.leave()
        return sum(found[1:], found[0])

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Reason, Tensor]:
        passage = self._passage(call, *saved, noted=True)
        call.place.arrive(passage=passage)
        return passage.kept(call, grad)

    def _passage(self, call: Call, *saved: Tensor, noted: bool = False) -> Passage:
        """Return the passage of any gradient; `noted` with what the ledger needs."""
        x = input_of(call, *saved)
        constants = call.place.remembered(lambda: self._constants(call, x, noted), call.weight)
        return Passage(x, Flow.each_of(constants))

    def _constants(self, call: Call, x: Tensor, noted: bool) -> list[Tensor]:
        """Return the flow of each term, as tensors one after the other."""
        layer = AffineLayer.of(call)
        weights = self.weights(layer)
        z = output_of(layer, x)
        terms = zip(weights, self.terms(layer, weights, x, z), strict=True)
        flows = (Flow.of(own, term, z, self.epsilon, noted) for own, term in terms)
        return [tensor for flow in flows for tensor in flow]

    def _back(self, call: Call, x: Tensor, signal: Tensor, weights: Weights) -> Tensor:
        positive = affine_backward(call, signal, weights.positive)
        if weights.negative is weights.positive or call.place.nonnegative:
            return positive
        negative = affine_backward(call, signal, weights.negative)
        return torch.where(x > 0, positive, torch.where(x < 0, negative, 0))

    def _bias(self, bias: Tensor) -> Tensor | None:
        """Return the bias of a denominator."""
        return None if self.zero_bias else bias


def output_of(layer: AffineLayer, x: Tensor) -> Tensor:
    """Return the layer's output, or what the rectifier made of it that the signal passed."""
    arrival = layer.call.place.arrival
    if not arrival.rectified:
        return layer.apply(x, layer.weight, layer.bias)
    if arrival.output is None:
        return layer.apply(x, layer.weight, layer.bias).relu_()
    return arrival.output()


def signed_sum(layer: AffineLayer, x: Tensor, weights: Weights, bias: Tensor | None) -> Tensor:
    """Return `W₁ x⁺ + W₂ x⁻ + b`."""
    if layer.call.place.nonnegative:
        return layer.apply(x, weights.positive, bias)
    positive = layer.apply(x.clamp(min=0), weights.positive, bias)
    return positive + layer.apply(x.clamp(max=0), weights.negative)


@register_rule(WEIGHTED, "epsilon")
@batchable
class Epsilon(RelevanceRule):
    """Relevance in proportion to the contributions `W x`, damped where they cancel."""

    def weights(self, layer: AffineLayer) -> Sequence[Weights]:
        return (Weights(layer.weight, layer.weight),)

    def terms(
        self, layer: AffineLayer, weights: Sequence[Weights], x: Tensor, z: Tensor
    ) -> Iterator[Term]:
        without = z - layer.along_outputs(layer.bias) if self.zero_bias else z
        yield Term(without, self._bias(layer.bias))


@register_rule(WEIGHTED, "z_plus")
@batchable
class ZPlus(RelevanceRule):
    """Relevance in proportion to the positive contributions only."""

    def weights(self, layer: AffineLayer) -> Sequence[Weights]:
        weight = layer.weight
        return (Weights.of(layer, weight.clamp(min=0), lambda: weight.clamp(max=0)),)

    def terms(
        self, layer: AffineLayer, weights: Sequence[Weights], x: Tensor, z: Tensor
    ) -> Iterator[Term]:
        bias = self._bias(layer.bias.clamp(min=0))
        yield Term(signed_sum(layer, x, weights[0], bias), bias)


@register_rule(WEIGHTED, "z_minus")
@batchable
class ZMinus(ZPlus):
    """Relevance in proportion to the negative contributions only: `z_plus` of negated weights."""

    def weights(self, layer: AffineLayer) -> Sequence[Weights]:
        weight = layer.weight
        return (Weights.of(layer, weight.clamp(max=0), lambda: weight.clamp(min=0)),)

    def terms(
        self, layer: AffineLayer, weights: Sequence[Weights], x: Tensor, z: Tensor
    ) -> Iterator[Term]:
        bias = self._bias(layer.bias.clamp(max=0))
        yield Term(signed_sum(layer, x, weights[0], bias), bias)


@register_rule(WEIGHTED, "alpha_beta")
@batchable
class AlphaBeta(RelevanceRule):
    """Positive contributions weighted by α, negative ones by -β.

    Args:
        alpha: the weight of positive contributions.
        beta: the weight of negative contributions; `alpha - beta` is 1.
        epsilon: as for :class:`RelevanceRule`.
        zero_bias: as for :class:`RelevanceRule`.

    Raises:
        RuleError: `alpha - beta` is not 1, or one is no number or negative.
    """

    def __init__(
        self,
        alpha: float = 2.0,
        beta: float = 1.0,
        epsilon: float = 1e-6,
        zero_bias: bool = False,
    ) -> None:
        super().__init__(epsilon, zero_bias)
        self.alpha = checked_parameter(alpha, "alpha")
        self.beta = checked_parameter(beta, "beta")
        if abs(alpha - beta - 1) > 1e-9:
            raise RuleError(
                f"alpha - beta must be 1 so that relevance is conserved, got alpha={alpha},"
                f" beta={beta}"
            )

    def weights(self, layer: AffineLayer) -> Sequence[Weights]:
        positive, negative = layer.weight.clamp(min=0), layer.weight.clamp(max=0)
        return (Weights(positive, negative), Weights(negative, positive))

    def terms(
        self, layer: AffineLayer, weights: Sequence[Weights], x: Tensor, z: Tensor
    ) -> Iterator[Term]:
        signed = (layer.bias.clamp(min=0), layer.bias.clamp(max=0))
        factors = (self.alpha, -self.beta)
        for own, bias, factor in zip(weights, signed, factors, strict=True):
            kept = self._bias(bias)
            yield Term(signed_sum(layer, x, own, kept), kept, factor)


@register_rule(WEIGHTED, "gamma")
@batchable
class Gamma(RelevanceRule):
    """Contributions of the output's sign count 1 + γ times; for `γ = 0` the epsilon rule.

    The sign of the output is that with its bias, also where `zero_bias` leaves the bias out.

    Args:
        gamma: the weight that contributions of the output's sign gain.
        epsilon: as for :class:`RelevanceRule`.
        zero_bias: as for :class:`RelevanceRule`.

    Raises:
        RuleError: a negative `gamma`.
    """

    def __init__(self, gamma: float = 0.25, epsilon: float = 1e-6, zero_bias: bool = False) -> None:
        super().__init__(epsilon, zero_bias)
        self.gamma = checked_parameter(gamma, "gamma")

    def weights(self, layer: AffineLayer) -> Sequence[Weights]:
        raised = self._raised(layer.weight, min=0)
        lowered = partial(self._raised, layer.weight, max=0)
        if layer.call.place.arrival.rectified:
            return (Weights.of(layer, raised, lowered),)
        other = lowered()
        return (Weights(raised, other), Weights(other, raised))

    def terms(
        self, layer: AffineLayer, weights: Sequence[Weights], x: Tensor, z: Tensor
    ) -> Iterator[Term]:
        signed = (self._raised(layer.bias, min=0), self._raised(layer.bias, max=0))
        # Nothing is negative behind a rectifier, and where the output is zero there is nothing.
        masks = (None,) if len(weights) == 1 else ((z > 0).to(z.dtype), (z < 0).to(z.dtype))
        for own, bias, mask in zip(weights, signed, masks, strict=False):
            kept = self._bias(bias)
            yield Term(signed_sum(layer, x, own, kept), kept, mask)

    def _raised(self, values: Tensor, **bounds: float) -> Tensor:
        return values + self.gamma * values.clamp(**bounds)


@register_rule(WEIGHTED, "zero")
@batchable
class Zero(LayerRule):
    """The gradient: in proportion to the contributions, and to the bias its own share."""

    needs_input: ClassVar[bool] = False

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        layer = AffineLayer.of(call)
        return affine_backward(call, grad, layer.weight)

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Reason, Tensor]:
        if call.bias is None:
            return {}
        layer = AffineLayer.of(call)
        return {"bias": share_of_bias(call, layer.bias, grad)}

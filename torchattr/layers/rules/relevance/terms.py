"""The terms of relevance rules: quotients, the weights they go back through, and what they keep."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from torchattr.layers.ledger import Reason, total
from torchattr.layers.operations.operation import Call
from torchattr.layers.rules.relevance.affine import AffineLayer, share_of_bias


def stabilised(values: Tensor, epsilon: float) -> Tensor:
    """Return `z + ε · sign(z)`, where the sign of 0 is positive."""
    return torch.where(values < 0, values - epsilon, values + epsilon)


def dead_free_quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Return a quotient that is 0 where the denominator is."""
    return torch.where(denominator == 0, 0, numerator / denominator)


def stabilised_quotient(numerator: Tensor, denominator: Tensor, epsilon: float) -> Tensor:
    """Return a quotient over a stabilised denominator, 0 where that is 0 before.

    The same as the two functions above in half the passes over memory; for constants of a forward.
    """
    # The sign of a zero does not matter.
    result = torch.copysign(denominator.new_full((), epsilon), denominator).add_(denominator)
    torch.div(numerator, result, out=result)
    return result.masked_fill_(denominator == 0, 0)


@dataclass(frozen=True)
class Weights:
    """What a term goes back through: the weights of positive and of negative inputs."""

    positive: Tensor
    negative: Tensor

    @classmethod
    def of(cls, layer: AffineLayer, positive: Tensor, negative: Callable[[], Tensor]) -> Weights:
        """Return weights of which those of negative inputs are computed only if there are any."""
        return cls(positive, positive if layer.call.place.nonnegative else negative())


@dataclass(frozen=True)
class Term:
    """One quotient of a rule.

    Attributes:
        denominator: what the relevance of each output is divided by, before it is stabilised.
        bias: the part of the denominator that no input has a share in; `None` without one.
        factor: a number or mask that multiplies the relevance; `None` for 1.
    """

    denominator: Tensor
    bias: Tensor | None = None
    factor: Tensor | float | None = None

    def weighted(self, relevance: Tensor) -> Tensor:
        """Return the relevance that this term distributes."""
        return relevance if self.factor is None else relevance * self.factor


class Flow(NamedTuple):
    """What one term does to any gradient of the output.

    Attributes:
        gate: what the gradient is multiplied by: the signal that goes back.
        positive: the weights that it goes back through, of positive inputs.
        negative: those of negative inputs.
        lost: for the ledger, what the stabiliser keeps of each unit of the signal.
        dead: for the ledger, the relevance, by gradient, of outputs without contributions.
        bias: for the ledger, what the bias keeps of each unit of the signal.

    What is not asked for, or nothing, has no elements.
    """

    gate: Tensor
    positive: Tensor
    negative: Tensor
    lost: Tensor
    dead: Tensor
    bias: Tensor

    @classmethod
    def of(cls, weights: Weights, term: Term, z: Tensor, epsilon: float, noted: bool) -> Flow:
        """Return the flow of a term.

        Args:
            weights: its weights.
            term: the term.
            z: the output, whose relevance is distributed.
            epsilon: what is added to its denominator.
            noted: whether a ledger is kept.
        """
        relevance, below = term.weighted(z), term.denominator
        gate = stabilised_quotient(relevance, below, epsilon)
        lost = dead = bias = nothing = z.new_empty(0)
        if noted:
            is_dead = below == 0
            lost = torch.copysign(z.new_full((), epsilon), below) if epsilon else nothing
            dead = torch.where(is_dead, relevance, 0) if bool(is_dead.any()) else nothing
            bias = nothing if term.bias is None else term.bias
        return cls(gate, weights.positive, weights.negative, lost, dead, bias)

    @classmethod
    def each_of(cls, tensors: Sequence[Tensor]) -> list[Flow]:
        """Return flows whose tensors are given one after the other."""
        width = len(cls._fields)
        return [cls(*tensors[k : k + width]) for k in range(0, len(tensors), width)]


@dataclass(frozen=True)
class Passage:
    """What a layer does to any gradient that arrives.

    Attributes:
        x: the layer's input.
        flows: what each term does to it.
    """

    x: Tensor
    flows: Sequence[Flow]

    def kept(self, call: Call, grad: Tensor) -> dict[Reason, Tensor]:
        """Return what stays at the layer, by reason.

        With a denominator `z` the signal is `s = R / (z + ε sign(z))` and gives `s z` to the inputs
        and the bias, so that `R - s z = s ε sign(z)` is what the stabiliser takes.

        Args:
            call: its call.
            grad: the gradient that arrived.
        """
        amounts: dict[Reason, list[Tensor]] = {"stabiliser": [], "dead": [], "bias": []}
        for flow in self.flows:
            signal = grad * flow.gate
            if flow.lost.numel():
                amounts["stabiliser"].append(total(signal * flow.lost))
            if flow.dead.numel():
                amounts["dead"].append(total(grad * flow.dead))
            if flow.bias.numel():
                amounts["bias"].append(share_of_bias(call, flow.bias, signal))
        return {reason: torch.stack(some).sum() for reason, some in amounts.items() if some}

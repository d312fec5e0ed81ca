"""Relevance that stays in its place, and sums whose shares are scaled to the whole.

The rules of Chefer, Gur and Wolf, CVPR 2021 (2012.09838), for what is not a linear layer: the
output's relevance is the input's in normalisations and in the softmax, and the two shares of a sum
count by their magnitudes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr.errors import LayerError
from torchattr.layers.ledger import Reason, relevance_of
from torchattr.layers.operations.operation import Call, wide
from torchattr.layers.registry import register_kind_rule, register_rule
from torchattr.layers.rule import LayerRule, batchable
from torchattr.layers.rules.attention_scores import Operands, signals_of
from torchattr.layers.rules.relevance.products import AttentionHalves
from torchattr.layers.rules.relevance.terms import dead_free_quotient


@register_kind_rule("norm", "pass")
@register_rule("softmax", "pass")
@batchable
class InPlace(LayerRule):
    """`g · y / x`: an input has the relevance of the output in its place, unless it is 0."""

    def save(self, call: Call, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return dead_free_quotient(y, x), torch.where(x == 0, y, 0)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        return grad * saved[0]

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Reason, Tensor]:
        return {"dead": relevance_of(saved[1], grad).sum()}


@register_rule("attention", "pass")
class AttentionInPlace(AttentionHalves):
    """Halves of both products; in between, logits have the relevance of their weights."""

    def signals(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
        one = Operands.of(call, saved)
        logits, above = one.logits, wide(grad)
        weights = logits.softmax(-1)
        below = dead_free_quotient(weights * (above @ one.value.transpose(-1, -2)), logits)
        return signals_of(
            call,
            below @ one.key * one.scale,
            below.transpose(-1, -2) @ one.query * one.scale,
            weights.transpose(-1, -2) @ above,
            below,
        )


@register_rule("add", "normalised")
class NormalisedSum(LayerRule):
    """`g` to both summands, times a factor for each that scales the sum of its shares.

    With `S` that sum over an example, a summand gets `|S₁| / (|S₁| + |S₂|)` of the whole: where
    shares of opposite sign cancel, they would be larger than it. A constant keeps its share.

    Args:
        examples: the number of examples; `None` if there is only one.
    """

    def __init__(self, examples: int | None = None) -> None:
        self.examples = examples

    def save(self, call: Call, x: Any, y: Tensor) -> tuple[Tensor, ...]:
        # Copies: a model often goes on in place.
        return tuple(one.clone() for one in x)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
        signals = (grad, grad if call.alpha == 1 else grad * call.alpha)
        factors = self._factors(call, signals, saved)
        triples = zip(signals, factors, call.shapes, strict=True)
        return tuple((signal * factor).sum_to_size(shape) for signal, factor, shape in triples)

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Reason, Tensor]:
        pairs = list(zip(saved, self.backward(call, grad, *saved), strict=True))
        kept = [
            relevance_of(*pair).sum()
            for place, pair in enumerate(pairs)
            if not call.place.is_dependent(place)
        ]
        return {"constant": torch.stack(kept).sum()} if kept else {}

    def of_example(self, number: int, count: int) -> NormalisedSum:
        return NormalisedSum()

    def _factors(
        self, call: Call, signals: Sequence[Tensor], saved: Sequence[Tensor]
    ) -> Sequence[Tensor | float]:
        if not all(call.place.is_dependent(place) for place in range(2)):
            return 1.0, 1.0
        first, second = (
            self._of_examples(relevance_of(one.expand_as(signal), signal))
            for one, signal in zip(saved, signals, strict=True)
        )
        whole = dead_free_quotient(first + second, first.abs() + second.abs())
        return tuple((one.sign() * whole).to(signals[0]) for one in (first, second))

    def _of_examples(self, relevance: Tensor) -> Tensor:
        """Return the sum of each example's relevance, so that it broadcasts."""
        dims = set(range(relevance.dim()))
        if self.examples not in (None, 1):
            dims.remove(self._examples_at(relevance.shape))
        return relevance.sum(tuple(dims), keepdim=True)

    def _examples_at(self, shape: Sequence[int]) -> int:
        """Return which dimension the examples are in: the first, or of sequences the second.

        Raises:
            LayerError: it may be either, or is neither.
        """
        found = [dim for dim, size in enumerate(shape[:2]) if size == self.examples]
        if len(found) == 1 or (found and len(shape) != 3):
            return found[0]
        reason = "may be in either of the first two" if found else "are in none of the first two"
        raise LayerError(
            f"the sum over each of {self.examples} examples is not known, which {reason} dimensions"
            f" of a residual sum of shape {tuple(shape)}; explain one example at a time"
        )

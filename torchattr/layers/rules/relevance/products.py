"""Products and quotients of two results: who gets the relevance."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from torchattr.layers.operations.operation import Call
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import LayerRule, batchable


@register_rule(("mul", "matmul"), "halves")
class Halves(LayerRule):
    """Half of the relevance to each factor; all of it to the only one that depends on the inputs.

    Achtibat et al. 2024 (2402.05602). A summand (`baddbmm`, the bias of a convolution with computed
    weights) keeps its own share.
    """

    def save(self, call: Call, x: Any, y: Tensor) -> tuple[Tensor, ...]:
        return tuple(x)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor | None, ...]:
        factors = [position for position in (0, 1) if call.place.is_dependent(position)]
        found = call.vjp(grad, *saved)
        share = 1 / max(len(factors), 1)
        of_factors = [found[k] * share if k in factors else None for k in (0, 1)]
        return (*of_factors, *found[2:])


@register_rule("div", "frozen")
class QuotientFrozen(LayerRule):
    """All relevance to the dividend: the divisor counts as a constant."""

    def save(self, call: Call, x: Any, y: Tensor) -> tuple[Tensor, ...]:
        return tuple(x)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor | None, ...]:
        return call.vjp(grad, *saved)[0], None


@register_rule("softmax", "frozen")
@batchable
class SoftmaxFrozen(LayerRule):
    """Nothing goes back: the attention weights count as constants."""

    needs_input: ClassVar[bool] = False
    ends: ClassVar[bool] = True

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor | None, ...]:
        return (None,)


@register_rule("attention", "frozen")
class AttentionFrozen(LayerRule):
    """All relevance to the values: the attention weights count as constants.

    Ali et al. 2022 (2202.07304), there called conservative propagation.
    """

    shares: ClassVar[tuple[float, float, float]] = (0.0, 0.0, 1.0)

    def save(self, call: Call, x: Any, y: Tensor) -> tuple[Tensor, ...]:
        return tuple(x)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor | None, ...]:
        found = call.vjp(grad, *saved)
        pairs = zip(found, self.shares, strict=True)
        return tuple(one * share if share else None for one, share in pairs)


@register_rule("attention", "halves")
class AttentionHalves(AttentionFrozen):
    """A quarter to queries and to keys, half to values: halves of both products.

    Achtibat et al. 2024 (2402.05602): the product of weights and values, the softmax by its own
    gradient, then the product of queries and keys.
    """

    shares: ClassVar[tuple[float, float, float]] = (0.25, 0.25, 0.5)

"""Products and quotients of two results: who gets the relevance."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchattr.layers.ledger import Reason, relevance_of
from torchattr.layers.operations.operation import Call, factors_of
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
        dependent = [call.place.is_dependent(place) for place in range(len(saved))]
        places = factors_of(call)
        shares = dict.fromkeys(places, 1 / max(sum(dependent[place] for place in places), 1))
        return tuple(
            found * shares.get(place, 1) if dependent[place] else None
            for place, found in enumerate(call.vjp(grad, *saved))
        )

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Reason, Tensor]:
        dependent = [call.place.is_dependent(place) for place in range(len(saved))]
        if all(dependent):
            return {}
        found = call.vjp(grad, *saved)
        shares = [_product(*pair) for pair in zip(saved, found, strict=True)]
        places = factors_of(call)
        summands = set(range(len(saved))).difference(places)
        constant = [shares[place] for place in summands if not dependent[place]]
        constant += [] if any(dependent[place] for place in places) else [shares[places[0]]]
        return {"constant": torch.stack(constant).sum()} if constant else {}


@register_rule("div", "frozen")
class QuotientFrozen(LayerRule):
    """All relevance to the dividend: the divisor counts as a constant."""

    passes_to: ClassVar[Sequence[int]] = (0,)

    def save(self, call: Call, x: Any, y: Tensor) -> tuple[Tensor, ...]:
        return tuple(x)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor | None, ...]:
        return call.vjp(grad, *saved)[0], None

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Reason, Tensor]:
        if call.place.is_dependent(0):
            return {}
        return {"constant": _product(saved[0], call.vjp(grad, *saved)[0])}


@register_rule(("softmax", "reciprocal"), "frozen")
@batchable
class ResultFrozen(LayerRule):
    """Nothing goes back: attention weights, and what divides, count as constants."""

    needs_input: ClassVar[bool] = False
    passes_to: ClassVar[Sequence[int]] = ()

    def save(self, call: Call, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return (y,)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor | None, ...]:
        return (None,)

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Reason, Tensor]:
        return {"constant": _product(saved[0], grad)}


@register_rule("logsumexp", "frozen")
@batchable
class LogSumFrozen(LayerRule):
    """`g · p` with the softmax `p` frozen: it is `Σ p x - Σ p log p`, the last a constant."""

    def save(self, call: Call, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        whole = y if call.keepdim else x.logsumexp(call.dim, keepdim=True)
        weights = (x - whole).exp()
        entropy = whole - torch.where(weights == 0, 0, weights * x).sum(call.dim, keepdim=True)
        return weights, entropy

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        weights, entropy = saved
        return grad.reshape(entropy.shape) * weights

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Reason, Tensor]:
        return {"constant": _product(saved[1], grad.reshape(saved[1].shape))}


@register_rule("softmax", "own")
class SoftmaxOwn(LayerRule):
    """The softmax's own gradient, which conserves relevance only in part (2402.05602)."""

    def save(self, call: Call, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return (x,)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor | None, ...]:
        return call.vjp(grad, *saved)

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Reason, Tensor]:
        below = _product(saved[0], call.vjp(grad, *saved)[0])
        return {"softmax": _product(call.compute(*saved), grad) - below}


class AttentionRule(LayerRule):
    """A rule of attention as a whole: a share of the gradient each for queries, keys and values.

    A mask that is computed from the inputs is a summand of the logits.
    """

    def save(self, call: Call, x: Any, y: Tensor) -> tuple[Tensor, ...]:
        return tuple(x)

    @abstractmethod
    def shares(self, query: bool, key: bool, value: bool, mask: bool) -> Sequence[float]:
        """Return the shares of the four, given which of them depend on the inputs."""

    def signals(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
        """Return what the shares are shares of; the gradients by default."""
        return call.vjp(grad, *saved)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor | None, ...]:
        pairs = zip(self.signals(call, grad, *saved), self._shares(call), strict=False)
        return tuple(one * share if share else None for one, share in pairs)

    def _shares(self, call: Call) -> Sequence[float]:
        count = len(call.shapes)
        dependent = (count > place and call.place.is_dependent(place) for place in range(4))
        return self.shares(*dependent)


@register_rule("attention", "frozen")
class AttentionFrozen(AttentionRule):
    """All relevance to the values: the attention weights count as constants.

    Ali et al. 2022 (2202.07304), there called conservative propagation.
    """

    passes_to: ClassVar[Sequence[int]] = (2,)

    def shares(self, query: bool, key: bool, value: bool, mask: bool) -> Sequence[float]:
        return 0.0, 0.0, float(value), 0.0

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Reason, Tensor]:
        if call.place.is_dependent(2):
            return {}
        return {"constant": _product(call.compute(*saved), grad)}


@register_rule("attention", "halves")
class AttentionHalves(AttentionRule):
    """A quarter to queries and to keys, half to values: halves of both products.

    Achtibat et al. 2024 (2402.05602): the product of weights and values, the softmax by its own
    gradient, then the product of queries and keys. A product with a constant gives the other factor
    all.
    """

    def shares(self, query: bool, key: bool, value: bool, mask: bool) -> Sequence[float]:
        of_weights = 0.5 if value else 1.0
        of_values = 0.5 if query or key or mask else 1.0
        return (
            of_weights * query * (0.5 if key else 1.0),
            of_weights * key * (0.5 if query else 1.0),
            of_values * value,
            of_weights * mask,
        )

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Reason, Tensor]:
        found = self.backward(call, grad, *saved)
        pairs = zip(saved, found, strict=True)
        below = [_product(value, of_value) for value, of_value in pairs if of_value is not None]
        kept = _product(call.compute(*saved), grad)
        return {"softmax": kept - torch.stack(below).sum() if below else kept}


def _product(values: Tensor, grad: Tensor) -> Tensor:
    """Return the relevance of values."""
    return relevance_of(values, grad).sum()

"""Sums and concatenations: each operand keeps its share, and constants are told apart."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchattr.layers.ledger import Reason, relevance_of, total
from torchattr.layers.operations.operation import Call
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import LayerRule, batchable
from torchattr.layers.rules.relevance.terms import stabilised_quotient


class _Joined(LayerRule):
    """A rule that is the gradient, and keeps operands that do not depend on the inputs."""

    needs_input: ClassVar[bool] = False

    def save(self, call: Call, x: Any, y: Tensor) -> tuple[Tensor, ...]:
        # What an operation overwrites cannot be kept.
        written = x[:1] if call.inplace else ()
        return tuple(one for one in x if not one.requires_grad and not _is_any(one, written))

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Reason, Tensor]:
        constants = [k for k in range(len(call.shapes)) if not call.place.is_dependent(k)]
        if len(constants) != len(saved) or not saved:
            return {}
        found = self.backward(call, grad)
        amounts = [
            relevance_of(value, found[k]).sum() for k, value in zip(constants, saved, strict=True)
        ]
        return {"constant": torch.stack(amounts).sum()}

    @abstractmethod
    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor, ...]: ...


def _is_any(tensor: Tensor, others: Any) -> bool:
    return any(tensor is other for other in others)


@register_rule("add", "sum")
@batchable
class Sum(_Joined):
    """`g` to both summands."""

    def save(self, call: Call, x: Any, y: Tensor) -> tuple[Tensor, ...]:
        saved = super().save(call, x, y)
        if call.inplace and not x[0].requires_grad:
            return (y - call.alpha * x[1], *saved)  # The constant that the sum overwrote.
        return saved

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
        scaled = grad if call.alpha == 1 else grad * call.alpha
        pairs = zip((grad, scaled), call.shapes, strict=True)
        return tuple(share.sum_to_size(shape) for share, shape in pairs)


@register_rule("cat", "split")
@batchable
class Split(_Joined):
    """`g` to each tensor at its place."""

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
        known = call.place.arrival.output
        if known is not None:
            parts = cache(lambda: _split(call, known()))
            call.place.hand_down(*(partial(_part, parts, k) for k in range(len(call.shapes))))
            call.place.leave()
        return _split(call, grad)

    def of_relevance(self) -> LayerRule:
        return SplitOfRelevance()


def _split(call: Call, values: Tensor) -> tuple[Tensor, ...]:
    """Return the part of each operand."""
    dim = call.dim % values.dim()
    sizes = [shape[dim] if len(shape) == values.dim() else 0 for shape in call.shapes]
    parts = values.split(sizes, dim)
    return tuple(part.reshape(s) for part, s in zip(parts, call.shapes, strict=True))


def _part(parts: Callable[[], tuple[Tensor, ...]], position: int) -> Tensor:
    return parts()[position]


@batchable
class SplitOfRelevance(Split):
    """The same below a rule whose result is relevance: that of a constant is what arrives at it."""

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Reason, Tensor]:
        parts = enumerate(_split(call, grad))
        kept = [total(part) for k, part in parts if not call.place.is_dependent(k)]
        return {"constant": torch.stack(kept).sum()} if kept else {}


@register_rule(("add", "avg_pool", "adaptive_avg_pool", "mean", "sum"), "norm")
class StabilisedSum(LayerRule):
    """The gradient times `y / (y + ε sign y)`: in proportion to the contributions, stabilised.

    Without ε this is the gradient itself, which conserves relevance exactly.

    Args:
        epsilon: what is added to the output, with its sign.
    """

    needs_input: ClassVar[bool] = False
    reads_rectified: ClassVar[bool] = True

    def __init__(self, epsilon: float = 1e-6) -> None:
        self.epsilon = epsilon

    def save(self, call: Call, x: Any, y: Tensor) -> tuple[Tensor, ...]:
        inputs = x if isinstance(x, tuple) else (x,)
        blanks = [tensor.new_zeros(1).expand(tensor.shape) for tensor in inputs]
        return (y, *blanks)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> tuple[Tensor, ...]:
        y, *blanks = saved
        return call.vjp(grad * stabilised_quotient(y, y, self.epsilon), *blanks)

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Reason, Tensor]:
        y, *_ = saved
        gate = stabilised_quotient(y, y, self.epsilon)
        return {"stabiliser": total(grad * (1 - gate) * y)}

"""Products and quotients of two results: half of the difference to each order of changing them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchattr.layers.operations.operation import Call, factors_of, in_dtype, wide
from torchattr.layers.registry import register_rule
from torchattr.layers.rules.deep_lift.rescale import ComparedCall, RescaleRule, mean_of


@register_rule(("mul", "matmul"), "rescale")
class RescaleProduct(RescaleRule):
    """`d(a b) = mean(b) da + mean(a) db`: the gradient at the mean of input and reference, exactly.

    That holds for each operation that is linear in either factor. A factor that does not depend on
    the inputs is its own mean, and the values of the other are not needed.
    """

    def compared(self, call: Call, pair: ComparedCall) -> tuple[Any, ...]:
        both = all(pair.dependent[place] for place in factors_of(call))
        triples = zip(pair.given, pair.reference, pair.dependent, strict=True)
        means = [
            x if not depends else mean_of(x, x0) if both else x.new_zeros(()).expand(x.shape)
            for x, x0, depends in triples
        ]
        return (*means, pair.dependent)

    def multiplied(self, call: Call, grad: Tensor, *kept: Any) -> tuple[Tensor | None, ...]:
        *means, dependent = kept
        found = call.vjp(grad, *means)
        return tuple(one if goes else None for one, goes in zip(found, dependent, strict=True))


@register_rule("div", "rescale")
class RescaleQuotient(RescaleRule):
    """`y = a / b` as `a = y b`: `dy = (da - mean(y) db) / mean(b)`, where `b` keeps its sign.

    Where its sign changes, that mean may be 0: there as the product of `a` with `1 / b`, whose
    slope is `-1 / (b b0)`.
    """

    def compared(self, call: Call, pair: ComparedCall) -> tuple[Any, ...]:
        (a, b), (a0, b0) = (map(wide, values) for values in (pair.given, pair.reference))
        stays = b * b0 > 0
        inverse = torch.where(stays, 2 / (b + b0), (1 / b + 1 / b0) / 2)
        if not pair.dependent[1]:
            return (inverse,)
        means = mean_of(a / b, a0 / b0) * inverse, mean_of(a, a0) / (b * b0)
        return inverse, torch.where(stays, *means).neg_()

    def multiplied(self, call: Call, grad: Tensor, *kept: Any) -> tuple[Tensor | None, ...]:
        above = wide(grad)
        found = [
            in_dtype((above * one).sum_to_size(shape), call.dtype)
            for one, shape in zip(kept, call.shapes, strict=False)
        ]
        return found[0], found[1] if len(found) > 1 else None

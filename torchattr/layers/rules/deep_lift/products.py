"""Products and quotients of two results: half of the difference to each order of changing them."""

from __future__ import annotations

import torch
from torch import Tensor

from torchattr.layers.operations.operation import Call, in_dtype
from torchattr.layers.registry import register_rule
from torchattr.layers.rules.deep_lift.rescale import RescaleRule, Tensors, mean_of, wide


@register_rule(("mul", "matmul"), "rescale")
class RescaleProduct(RescaleRule):
    """`d(a b) = mean(b) da + mean(a) db`: the gradient at the mean of input and reference, exactly.

    That holds for each operation that is linear in either factor. A factor that does not depend on
    the inputs is its own mean, and the values of the other are not needed.
    """

    def compared(self, call: Call, given: Tensors, reference: Tensors, outputs: Tensors) -> Tensors:
        both = given[0].requires_grad and given[1].requires_grad
        means: list[Tensor] = []
        for x, x0 in zip(given, reference, strict=True):
            if both:
                means.append(mean_of(x, x0))
            else:
                means.append(x.new_zeros(()).expand(x.shape) if x.requires_grad else x)
        live = [x.requires_grad for x in given]
        return (*means, torch.tensor(live))

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> tuple[Tensor | None, ...]:
        *means, live = kept
        found = call.vjp(grad, *means)
        return tuple(one if goes else None for one, goes in zip(found, live.tolist(), strict=True))


@register_rule("div", "rescale")
class RescaleQuotient(RescaleRule):
    """`a / b` as the product of `a` with `1 / b`, whose slope is `-1 / (b b0)`."""

    def compared(self, call: Call, given: Tensors, reference: Tensors, outputs: Tensors) -> Tensors:
        (a, b), (a0, b0) = (map(wide, pair) for pair in (given, reference))
        inverse = (1 / b + 1 / b0) / 2
        if not given[1].requires_grad:
            return (inverse,)
        return inverse, (a + a0) / (-2 * b * b0)

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> tuple[Tensor | None, ...]:
        above = wide(grad)
        found = [
            in_dtype((above * one).sum_to_size(shape), call.dtype)
            for one, shape in zip(kept, call.shapes, strict=False)
        ]
        return found[0], found[1] if len(found) > 1 else None

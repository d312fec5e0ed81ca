"""Functions of each element: the slope between reference and input."""

from __future__ import annotations

import torch
from torch import Tensor

from torchattr.layers.operations.operation import Call, in_dtype, wide
from torchattr.layers.registry import register_kind_rule, register_rule
from torchattr.layers.rule import batchable
from torchattr.layers.rules.deep_lift.rescale import (
    ComparedCall,
    RescaleRule,
    Tensors,
    output_of,
    quotient,
)


@register_kind_rule("activation", "rescale")
@register_kind_rule("elementwise", "rescale")
@register_rule("reciprocal", "rescale")
@batchable
class RescaleElements(RescaleRule):
    """`g · (f(x) - f(x0)) / (x - x0)`, and `g · f'` where `x` is `x0`."""

    def compared(self, call: Call, pair: ComparedCall) -> Tensors:
        (x,), (x0,) = pair.given, pair.reference
        rise = wide(pair.outputs[0]) - wide(output_of(call, x0)[0])

        def derivative(between: Tensor) -> Tensor:
            at = in_dtype(between, call.dtype)
            return wide(call.vjp(torch.ones_like(pair.outputs[0]), at)[0])

        slope = quotient(wide(x), wide(x0), rise, derivative, self.tolerance)
        return (in_dtype(slope, call.dtype),)

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> Tensor:
        return grad.mul_(kept[0]) if call.owns_grad else grad * kept[0]


@register_kind_rule("rectifier", "rescale")
@batchable
class RescaleRectifier(RescaleElements):
    """The same in fewer passes over memory: without a bound, only equal inputs need a derivative.

    Nothing cancels: between inputs of one sign the quotient is exactly 0 or 1.
    """

    def compared(self, call: Call, pair: ComparedCall) -> Tensors:
        (x,), (x0,) = pair.given, pair.reference
        if call.upper is not None or not self.tolerance.relative or x.dtype != wide(x).dtype:
            return super().compared(call, pair)
        difference = x - x0
        slope = x0.clamp(min=0).neg_().add_(pair.outputs[0]).div_(difference)
        equal = difference == 0
        return (torch.where(equal, x > 0, slope) if bool(equal.any()) else slope,)

"""Batch-norm at inference: a scale per channel."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from torchattr.layers.ops import Call
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import LayerRule


@register_rule("batch_norm", "gradient")
class BatchNormGradient(LayerRule):
    """`g · w / √(var + ε)`, per channel: the running statistics are constants at inference."""

    needs_input: ClassVar[bool] = False
    fresh: ClassVar[bool] = True

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        scale = (call.running_var + call.eps).rsqrt()
        if call.weight is not None:
            scale = scale * call.weight
        scale = scale.to(grad.dtype).view(-1, *(1,) * (grad.dim() - 2))
        return grad.mul_(scale) if call.owns_grad else grad * scale

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

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        scale = (call.running_var + call.eps).rsqrt()
        if call.weight is not None:
            scale = scale * call.weight
        return grad * scale.to(grad.dtype).view(-1, *(1,) * (grad.dim() - 2))

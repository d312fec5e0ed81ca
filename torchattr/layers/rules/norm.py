"""Batch-norm at inference: a scale per channel."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from torchattr.kernels import along_channels
from torchattr.layers.operations.operation import Call
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import LayerRule, batchable, native_form


@register_rule("batch_norm", "gradient")
@native_form()
@batchable
class BatchNormGradient(LayerRule):
    """`g · w / √(var + ε)`, per channel: the running statistics are constants at inference."""

    needs_input: ClassVar[bool] = False
    fresh: ClassVar[bool] = True

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        scale = along_channels(scale_of(call), grad)
        return grad.mul_(scale) if call.owns_grad else grad * scale


def scale_of(call: Call) -> Tensor:
    """Return `w / √(var + ε)`, one value a channel."""
    scale = (call.running_var + call.eps).rsqrt_()
    return scale if call.weight is None else scale * call.weight

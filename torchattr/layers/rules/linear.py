"""The matrix product of a linear layer: back through its own weights."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from torchattr.layers.operations.operation import Call, in_dtype
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import LayerRule, batchable, native_form


@register_rule("linear", "gradient")
@native_form()
@batchable
class LinearGradient(LayerRule):
    """`g · W`: needs the weights, nothing else."""

    needs_input: ClassVar[bool] = False
    fresh: ClassVar[bool] = True

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        return (grad @ in_dtype(call.weight, grad.dtype)).reshape(call.shape)

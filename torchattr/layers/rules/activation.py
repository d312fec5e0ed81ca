"""Rules that treat a leaky, smooth or gated activation like a rectifier, on request.

With `f` the activation, `x` its input and `g` what comes back from above, `guided` sends
`g · f'(x)` back where both `x` and `g` are positive, and `deconvolution` sends `g` where it is
positive. For `f = ReLU` these are the rectifier's own rules.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from torchattr.layers.operations.operation import Call
from torchattr.layers.registry import register_kind_rule
from torchattr.layers.rule import LayerRule


@register_kind_rule("activation", "guided")
class ActivationGuided(LayerRule):
    """`g · f'(x) · [x > 0] · [g > 0]`: guided backpropagation of an activation with tails."""

    def save(self, call: Call, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return (x,)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        (x,) = saved
        return call.vjp(grad.clamp(min=0), x)[0] * (x > 0)


@register_kind_rule("activation", "deconvolution")
class ActivationDeconvolution(LayerRule):
    """`g · [g > 0]`: the deconvnet rectifies the signal, independently of the forward pass."""

    needs_input: ClassVar[bool] = False

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        return grad.clamp(min=0)

"""The rectifier's backward, in the three ways of the literature.

With `x` the rectifier's input and `g` what comes back from above:

| rule            | sends back            | remembers      |
|-----------------|-----------------------|----------------|
| `gradient`      | `g · [x > 0]`         | 1 bit          |
| `deconvolution` | `g · [g > 0]`         | nothing        |
| `guided`        | `g · [x > 0] · [g > 0]` | 1 bit        |
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from torchattr.kernels import Gate
from torchattr.layers.ops import Call
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import LayerRule


class _Gated(LayerRule):
    """A rule that needs to know where the rectifier let its input through."""

    needs_input: ClassVar[bool] = False
    fresh: ClassVar[bool] = True
    gate: ClassVar[Gate]

    def save(self, call: Call, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return (call.backend.pack_mask(y, call.order, call.upper),)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        bits = saved[0]
        return call.backend.relu_backward(grad, bits, call.order, self.gate, call.owns_grad)


@register_rule("relu", "gradient")
class ReLUGradient(_Gated):
    """The gradient: `g · [x > 0]`, zero at `x = 0`.

    A rectifier with an upper bound (ReLU6, hardtanh from 0) also stops what exceeded it.
    """

    gate: ClassVar[Gate] = "gradient"


@register_rule("relu", "guided")
class ReLUGuided(_Gated):
    """Guided backpropagation: `g · [x > 0] · [g > 0]` (Springenberg et al. 2015, 1412.6806)."""

    gate: ClassVar[Gate] = "guided"


@register_rule("relu", "deconvolution")
class ReLUDeconvolution(LayerRule):
    """The deconvnet's rectifier: `g · [g > 0]` (Zeiler and Fergus 2014, 1311.2901).

    It rectifies the signal on its way down and does not look at the forward pass.
    """

    needs_input: ClassVar[bool] = False
    fresh: ClassVar[bool] = True

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        gate: Gate = "deconvolution"
        return call.backend.relu_backward(grad, None, call.order, gate, call.owns_grad)

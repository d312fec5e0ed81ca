"""The rectifier's backward, in the three forms of the literature.

With `x` the rectifier's input and `g` the gradient of its output:

| rule            | sends back            | saves          |
|-----------------|-----------------------|----------------|
| `gradient`      | `g · [x > 0]`         | 1 bit          |
| `deconvolution` | `g · [g > 0]`         | nothing        |
| `guided`        | `g · [x > 0] · [g > 0]` | 1 bit        |
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from torchattr.core.torch_private import DisableTorchFunction
from torchattr.kernels import Gate
from torchattr.layers.operations.operation import Call
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import LayerRule, native_form


class _Gated(LayerRule):
    """A rule that reads where the rectifier passed its input."""

    needs_input: ClassVar[bool] = False
    fresh: ClassVar[bool] = True
    rectifies: ClassVar[bool] = True
    gate: ClassVar[Gate]

    def run(self, call: Call, *inputs: Tensor) -> tuple[Any, tuple[Tensor, ...]] | None:
        if call.arguments.get("of_two"):
            return None
        output, mask = call.backend.relu(inputs[0], call.upper, overwrite=call.inplace)
        return inputs[0] if call.inplace else output, (mask,)

    def save(self, call: Call, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return (call.backend.pack_mask(y, call.order, call.upper),)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        return _gated(call, grad, saved[0], self.gate)


@register_rule("relu", "gradient")
@native_form()
class ReLUGradient(_Gated):
    """The gradient: `g · [x > 0]`, zero at `x = 0`.

    A rectifier with an upper bound (ReLU6, hardtanh from 0) also stops what exceeded it.
    """

    gate: ClassVar[Gate] = "gradient"


def _clamp_above(node: Any) -> Any:
    """Let only positive gradients reach a rectifier, which then gates them by its own input."""
    return node.register_prehook(lambda grads: (_positive(grads[0]), *grads[1:]))


def _replace(node: Any) -> Any:
    """Send back the positive gradients whatever the rectifier's input was."""
    return node.register_hook(lambda below, above: (_positive(above[0]), *below[1:]))


def _positive(grad: Tensor | None) -> Tensor | None:
    # Without modes: one that acts in a backward looks for the model's code.
    with DisableTorchFunction():
        return None if grad is None else grad.relu()


@register_rule("relu", "guided")
@native_form(_clamp_above)
class ReLUGuided(_Gated):
    """Guided backpropagation: `g · [x > 0] · [g > 0]` (Springenberg et al. 2015, 1412.6806)."""

    gate: ClassVar[Gate] = "guided"


@register_rule("relu", "deconvolution")
@native_form(_replace)
class ReLUDeconvolution(LayerRule):
    """The deconvnet's rectifier: `g · [g > 0]` (Zeiler and Fergus 2014, 1311.2901).

    It rectifies the signal on its way down and reads nothing of the forward pass.
    """

    needs_input: ClassVar[bool] = False
    fresh: ClassVar[bool] = True
    gate: ClassVar[Gate] = "deconvolution"

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        return _gated(call, grad, None, self.gate)


KNOWN_GATES = (ReLUGradient, ReLUGuided, ReLUDeconvolution)
"""The rules whose backward a fused pass over memory can do; a subclass may differ."""


def gate_of(rule: LayerRule) -> Gate:
    """Return the gate of one of the rules of `KNOWN_GATES`."""
    gate: Gate = getattr(rule, "gate")  # noqa: B009 - no attribute of rules in general
    return gate


def _gated(call: Call, grad: Tensor, mask: Tensor | None, gate: Gate) -> Tensor:
    return call.backend.relu_backward(grad, mask, call.order, gate, call.owns_grad)

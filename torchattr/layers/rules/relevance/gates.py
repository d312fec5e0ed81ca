"""Elementwise functions as gates: `g · (f(x) - f(0)) / x`, the secant through the origin.

With the gates of the forward frozen, a network is linear in its input, so that relevance `x · g` is
conserved; what `f(0)` adds is a constant. Achtibat et al. 2024 (2402.05602), Mehri et al. 2025
(2411.16760).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchattr.core.torch_private import is_mapped
from torchattr.kernels import Order, from_order
from torchattr.layers.ledger import Reason, total
from torchattr.layers.operations.operation import Call
from torchattr.layers.registry import register_kind_rule, register_rule
from torchattr.layers.rule import LayerRule, batchable


@register_kind_rule("activation", "secant")
@register_kind_rule("elementwise", "secant")
@batchable
class Secant(LayerRule):
    """`g · (f(x) - f(0)) / x`, and `g · f'(0)` at 0.

    A function without a finite value at 0, such as the logarithm, has `g · f(x) / x`.
    """

    def save(self, call: Call, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        origin = _origin(call, x)
        constant = call.compute(origin.clone())
        constant = torch.where(constant.isfinite(), constant, 0)
        slope = call.vjp(torch.ones_like(constant), origin)[0]
        slope = slope.nan_to_num(0.0, 0.0, 0.0).to(x)
        if bool(constant.any()):
            constant = constant.to(x)
            return _at_zero(slope, x, (y - constant).div_(x)), constant
        return (_at_zero(slope, x, y / x),)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        return grad * saved[0]

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Reason, Tensor]:
        rest = saved[1:]
        return {"constant": total(grad * rest[0])} if rest else {}


def _at_zero(slope: Tensor, x: Tensor, secant: Tensor) -> Tensor:
    """Return secants with the slope in place of those at 0, written over them."""
    return torch.where(x == 0, slope, secant, out=secant)


def _origin(call: Call, x: Tensor) -> Tensor:
    """Return zeros for which a function shows all of its values at 0.

    One element on the CPU, where looking at it makes no device wait, unless the function has
    weights for single elements.
    """
    if any(isinstance(value, Tensor) for value in call.arguments.values()):
        return torch.zeros_like(x)
    return torch.zeros(1, dtype=x.dtype)


@register_rule("relu", "secant")
@batchable
class RectifierRelevance(LayerRule):
    """The rectifier's secant, which is its gradient; above its bound `g · bound / x`.

    It saves 1 bit an element, and the places and secants of those above a bound. The operation
    whose output it alone reads learns that only the positive part of that has relevance.
    """

    rectifies: ClassVar[bool] = True

    def run(self, call: Call, *inputs: Tensor) -> tuple[Any, tuple[Tensor, ...]] | None:
        if call.upper is not None or call.arguments.get("of_two"):
            return None
        output, mask = call.backend.relu(inputs[0], overwrite=call.inplace)
        return inputs[0] if call.inplace else output, (mask,)

    def save(self, call: Call, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        mask = call.backend.pack_mask(y, call.order, call.upper)
        if call.upper is None:
            return (mask,)
        above = (y >= call.upper).flatten().nonzero().flatten()
        return mask, _narrow(above, y.numel()), call.upper / x.take(above)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        if call.upper is not None:
            return _bounded(call, grad, *saved)
        if call.place.gates is not None:
            call.place.gates.arrive(rectified=True)
        if is_mapped(grad):
            # Of the functions that select, `vmap` maps none without a loop.
            return grad * _unpacked(saved[0], grad.shape, call.order)
        return call.backend.relu_backward(grad, saved[0], call.order, "gradient", call.owns_grad)


def _narrow(places: Tensor, count: int) -> Tensor:
    """Return places among so many in half of the memory, where they fit."""
    return places.int() if count < 2**31 else places


def _bounded(call: Call, grad: Tensor, mask: Tensor, above: Tensor, secants: Tensor) -> Tensor:
    """Return the signal below the bound, and times the secants above it."""
    places = above.long()
    if is_mapped(grad):
        gates = _unpacked(mask, grad.shape, call.order).to(secants.dtype)
        return grad * gates.put_(places, secants)
    passed = grad.take(places).mul_(secants)
    found = call.backend.relu_backward(grad, mask, call.order, "gradient", call.owns_grad)
    return found.put_(places, passed)


def _unpacked(mask: Tensor, shape: torch.Size, order: Order) -> Tensor:
    """Return the bits of a mask by functions that `vmap` maps."""
    bits = (mask[:, None] >> torch.arange(8, dtype=mask.dtype, device=mask.device)) & 1
    return from_order(bits.flatten()[: shape.numel()].bool(), shape, order)

"""Max-pools: the difference of the maxima goes to one place of each window."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from torchattr.layers.operations.operation import Call, in_dtype, wide
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import batchable
from torchattr.layers.rules.deep_lift.rescale import (
    ComparedCall,
    RescaleRule,
    Tensors,
    dims_of,
    output_of,
    quotient,
)
from torchattr.layers.rules.pool import refuse_empty_windows, window_of


class _RescaleMaximum(RescaleRule):
    """`y - y0` goes to where `x` is largest if `y ≥ y0`, else to where `x0` is.

    There the input differs at least as much in the same direction, so the multiplier is within 0
    and 1.
    """

    def chosen(self, call: Call, pair: ComparedCall) -> Tensors:
        """Return the multiplier of each window, and the place that it is for."""
        (x,), (x0,), (y, at) = pair.given, pair.reference, pair.outputs
        y0, at0 = output_of(call, x0)
        at = torch.where(y >= y0, at, at0)
        dims = _dims(call)
        places = at.flatten(-dims)
        a, b = (wide(one).flatten(-dims).gather(-1, places).view_as(y) for one in (x, x0))
        rise = wide(y) - wide(y0)
        slope = quotient(a, b, rise, torch.ones_like, self.tolerance)
        return in_dtype(slope, call.dtype), at


@register_rule("max_pool", "rescale")
class RescaleMaxPool(_RescaleMaximum):
    """In windows of one size, whose place takes a byte."""

    def compared(self, call: Call, pair: ComparedCall) -> Tensors:
        window = window_of(call)
        refuse_empty_windows(call.shape, window)
        slope, at = self.chosen(call, pair)
        return slope, call.backend.pack_switches(at, pair.outputs[0], call.shape, window)

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> Tensor:
        slope, switches = kept
        return call.backend.unpool(grad * slope, switches, call.shape, window_of(call))


@register_rule("adaptive_max_pool", "rescale")
@batchable
class RescaleAdaptiveMaxPool(_RescaleMaximum):
    """In windows of different sizes."""

    def compared(self, call: Call, pair: ComparedCall) -> Tensors:
        slope, at = self.chosen(call, pair)
        return slope, at.int()

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> Tensor:
        slope, at = kept
        dims = _dims(call)
        flat = grad.new_zeros(*call.shape[:-dims], prod(call.shape[-dims:]))
        shares = (grad * slope).flatten(-dims)
        return flat.scatter_add_(-1, at.long().flatten(-dims), shares).view(call.shape)


@register_rule("amax", "rescale")
class RescaleAmax(RescaleRule):
    """The largest over some dimensions, as a window."""

    def compared(self, call: Call, pair: ComparedCall) -> Tensors:
        x, x0 = (_reduced_last(call, one[0]) for one in (pair.given, pair.reference))
        (y, at), (y0, at0) = (one.max(-1, keepdim=True) for one in (x, x0))
        at = torch.where(y >= y0, at, at0)
        a, b = (wide(one.gather(-1, at)) for one in (x, x0))
        slope = quotient(a, b, wide(y) - wide(y0), torch.ones_like, self.tolerance)
        return in_dtype(slope, call.dtype), at

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> Tensor:
        slope, at = kept
        blank = _reduced_last(call, grad.new_zeros(call.shape))
        shares = (grad.reshape(slope.shape[:-1]).unsqueeze(-1)) * slope
        flat = torch.zeros_like(blank).scatter_(-1, at, shares)
        dims = dims_of(call)
        ends = tuple(range(-len(dims), 0))
        sizes = [call.shape[dim] for dim in dims]
        return flat.unflatten(-1, sizes).movedim(ends, dims)


def _reduced_last(call: Call, x: Tensor) -> Tensor:
    """Return values with those of which a call takes the largest in the last dimension."""
    dims = dims_of(call)
    return x.movedim(dims, tuple(range(-len(dims), 0))).flatten(-len(dims))


def _dims(call: Call) -> int:
    if call.operation.name == "adaptive_max_pool":
        return int(call.dims)
    return len(call.kernel_size)

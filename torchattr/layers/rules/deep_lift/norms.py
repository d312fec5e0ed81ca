"""Normalisations: the product of centred values with the inverse of their size.

With `z` the centred values, `v = mean(z²)` and `r = 1 / √(v + ε)`, the output is `z r`. Its
difference is `mean(r) dz + mean(z) dr`, where `dr = slope(r) dv` and `dv = mean((z + z0) dz)`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor

from torchattr.kernels import along_channels
from torchattr.layers.operations.operation import Call, in_dtype
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import batchable
from torchattr.layers.rules.deep_lift.rescale import (
    Pair,
    RescaleRule,
    Tensors,
    dims_of,
    mean_of,
    quotient,
    wide,
)

Function: TypeAlias = Callable[[Tensor], Tensor]


class _RescaleNorm(RescaleRule):
    """A normalisation by the root of the mean square over the last dimension of rows."""

    centres: ClassVar[bool] = True

    @abstractmethod
    def rows(self, call: Call, x: Tensor) -> Tensor:
        """Return values with those that are normalised together in the last dimension."""

    def eps(self, call: Call) -> float:
        """Return what is added to the mean square."""
        return float(call.eps)

    def weighted(self, call: Call, grad: Tensor) -> Tensor:
        """Return the multipliers below the weights."""
        weight = call.weight
        return grad if weight is None else grad * in_dtype(weight, grad.dtype)

    def compared(self, call: Call, pair: Pair) -> Tensors:
        z, z0 = (
            self._centred(self.rows(call, wide(one[0]))) for one in (pair.given, pair.reference)
        )
        s, s0 = ((x.square().mean(-1, keepdim=True) + self.eps(call)).sqrt() for x in (z, z0))
        # (1/s - 1/s0) / (s² - s0²), without a difference that could cancel.
        slope = -1 / (s * s0 * (s + s0))
        return mean_of(z, z0), (1 / s + 1 / s0) / 2, slope

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> Tensor:
        z, r, slope = kept
        above = self.rows(call, self.weighted(call, wide(grad)))
        along = (above * z).sum(-1, keepdim=True) * slope * (2 / z.shape[-1])
        below = self._centred(above * r + z * along)
        return in_dtype(below.reshape(call.shape), call.dtype)

    def _centred(self, rows: Tensor) -> Tensor:
        return rows - rows.mean(-1, keepdim=True) if self.centres else rows


@register_rule("layer_norm", "rescale")
@batchable
class RescaleLayerNorm(_RescaleNorm):
    """Over the last dimensions."""

    def rows(self, call: Call, x: Tensor) -> Tensor:
        return x.flatten(-len(call.normalized_shape))


@register_rule("rms_norm", "rescale")
@batchable
class RescaleRMSNorm(RescaleLayerNorm):
    """Without centring."""

    centres: ClassVar[bool] = False

    def eps(self, call: Call) -> float:
        return torch.finfo(call.dtype).eps if call.eps is None else float(call.eps)


@register_rule("group_norm", "rescale")
@batchable
class RescaleGroupNorm(_RescaleNorm):
    """Over each group of channels."""

    def groups(self, call: Call) -> int:
        """Return the number of groups of channels."""
        return int(call.num_groups)

    def rows(self, call: Call, x: Tensor) -> Tensor:
        return x.reshape(call.shape[0], self.groups(call), -1)

    def weighted(self, call: Call, grad: Tensor) -> Tensor:
        if call.weight is None:
            return grad
        return grad * along_channels(in_dtype(call.weight, grad.dtype), grad)


@register_rule("instance_norm", "rescale")
@batchable
class RescaleInstanceNorm(RescaleGroupNorm):
    """Over each channel; with running statistics the operation is affine."""

    def groups(self, call: Call) -> int:
        return int(call.shape[1])

    def compared(self, call: Call, pair: Pair) -> Tensors:
        return super().compared(call, pair) if call.by_instance else ()

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> Tensor:
        if kept:
            return super().multiplied(call, grad, *kept)
        return call.vjp(grad, grad.new_zeros(call.shape))[0]


class _RescaleByLength(RescaleRule):
    """A function of `‖x‖`: powers of the elements and a function of their sum, by quotients."""

    def slopes(self, call: Call, pair: Pair, function: Function, slope: Function) -> Tensors:
        """Return the slopes of the powers and of a function of their sum, and its mean.

        Args:
            call: the call.
            pair: its inputs.
            function: the function of the sum of the powers.
            slope: its derivative.
        """
        x, x0 = wide(pair.given[0]), wide(pair.reference[0])
        power, power0 = x.abs().pow(call.p), x0.abs().pow(call.p)

        def of_power(at: Tensor) -> Tensor:
            return at.sign() * at.abs().pow(call.p - 1) * call.p

        risen = quotient(x, x0, power - power0, of_power, self.tolerance)
        dims = dims_of(call)
        u, u0 = (one.sum(dims, keepdim=True) for one in (power, power0))
        r, r0 = function(u), function(u0)
        return risen, quotient(u, u0, r - r0, slope, self.tolerance), mean_of(r, r0)


@register_rule("normalize", "rescale")
@batchable
class RescaleNormalize(_RescaleByLength):
    """`x / max(‖x‖, ε)`, as the product of `x` with the inverse."""

    def compared(self, call: Call, pair: Pair) -> Tensors:
        def inverse(u: Tensor) -> Tensor:
            return u.pow(1 / call.p).clamp(min=call.eps).reciprocal()

        def slope(u: Tensor) -> Tensor:
            falls = u.pow(1 / call.p) > call.eps
            return torch.where(falls, -u.pow(-1 / call.p - 1) / call.p, 0.0)

        x, x0 = wide(pair.given[0]), wide(pair.reference[0])
        return mean_of(x, x0), *self.slopes(call, pair, inverse, slope)

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> Tensor:
        x, risen, slope, inverse = kept
        above = wide(grad)
        along = (above * x).sum(dims_of(call), keepdim=True) * slope
        return in_dtype(above * inverse + risen * along, call.dtype)


@register_rule("vector_norm", "rescale")
@batchable
class RescaleVectorNorm(_RescaleByLength):
    """`‖x‖`, the root of the sum of the powers."""

    def compared(self, call: Call, pair: Pair) -> Tensors:
        def root(u: Tensor) -> Tensor:
            return u.pow(1 / call.p)

        def slope(u: Tensor) -> Tensor:
            return u.pow(1 / call.p - 1) / call.p

        risen, of_root, _ = self.slopes(call, pair, root, slope)
        return risen, of_root

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> Tensor:
        risen, slope = kept
        return in_dtype(risen * slope * wide(grad).reshape(slope.shape), call.dtype)

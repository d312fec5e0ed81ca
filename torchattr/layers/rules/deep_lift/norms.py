"""Normalisations: the quotient of centred values and their size.

With `z` the centred values and `s = √(mean(z²) + ε)`, the output is `y = z / s`, that is `z = y s`:
`dz = mean(s) dy + mean(y) ds`, and so `dy = (dz - mean(y) ds) / mean(s)`, where
`ds = mean(mean(z) dz) / mean(s)`. Nothing is divided by the size of the reference alone, which is
nearly 0 for a constant one. (The product of `z` with the inverse of `s` is complete as well, but
multiplies by `1 / √ε` there: by 1e12 in `normalize`.)
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from torchattr.kernels import along_channels
from torchattr.layers.operations.operation import Call, in_dtype, wide
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import batchable
from torchattr.layers.rules.deep_lift.rescale import (
    ComparedCall,
    RescaleRule,
    Tensors,
    dims_of,
    mean_of,
    quotient,
)


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

    def compared(self, call: Call, pair: ComparedCall) -> Tensors:
        z, z0 = (
            self._centred(self.rows(call, wide(one[0]))) for one in (pair.given, pair.reference)
        )
        s, s0 = ((x.square().mean(-1, keepdim=True) + self.eps(call)).sqrt() for x in (z, z0))
        return mean_of(z, z0), mean_of(z / s, z0 / s0), mean_of(s, s0)

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> Tensor:
        z, y, s = kept
        above = self.rows(call, self.weighted(call, wide(grad))) / s
        along = (above * y).mean(-1, keepdim=True) / s
        return in_dtype(self._centred(above - z * along).reshape(call.shape), call.dtype)

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

    def compared(self, call: Call, pair: ComparedCall) -> Tensors:
        return super().compared(call, pair) if call.by_instance else ()

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> Tensor:
        if kept:
            return super().multiplied(call, grad, *kept)
        return call.vjp(grad, grad.new_zeros(call.shape))[0]


class _RescaleByLength(RescaleRule):
    """A function of `‖x‖`: powers of the elements and the root of their sum, by quotients."""

    def length(self, call: Call, u: Tensor) -> Tensor:
        """Return the size of values whose powers sum to `u`."""
        return u.pow(1 / call.p)

    def slopes(self, call: Call, pair: ComparedCall) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the slopes of powers and size, and the sizes of input and reference."""
        x, x0 = wide(pair.given[0]), wide(pair.reference[0])
        power, power0 = x.abs().pow(call.p), x0.abs().pow(call.p)

        def of_power(at: Tensor) -> Tensor:
            return at.sign() * at.abs().pow(call.p - 1) * call.p

        def of_length(at: Tensor) -> Tensor:
            return torch.where(self.length(call, at) > at.pow(1 / call.p), 0.0, slope_of_root(at))

        def slope_of_root(at: Tensor) -> Tensor:
            return at.pow(1 / call.p - 1) / call.p

        risen = quotient(x, x0, power - power0, of_power, self.tolerance)
        dims = dims_of(call)
        u, u0 = (one.sum(dims, keepdim=True) for one in (power, power0))
        n, n0 = self.length(call, u), self.length(call, u0)
        return risen, quotient(u, u0, n - n0, of_length, self.tolerance), n, n0


@register_rule("normalize", "rescale")
@batchable
class RescaleNormalize(_RescaleByLength):
    """`x / max(‖x‖, ε)`."""

    def length(self, call: Call, u: Tensor) -> Tensor:
        return super().length(call, u).clamp(min=call.eps)

    def compared(self, call: Call, pair: ComparedCall) -> Tensors:
        risen, slope, n, n0 = self.slopes(call, pair)
        y = mean_of(wide(pair.given[0]) / n, wide(pair.reference[0]) / n0)
        return risen * slope, y, mean_of(n, n0)

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> Tensor:
        slope, y, n = kept
        above = wide(grad) / n
        along = (above * y).sum(dims_of(call), keepdim=True)
        return in_dtype(above - slope * along, call.dtype)


@register_rule("vector_norm", "rescale")
@batchable
class RescaleVectorNorm(_RescaleByLength):
    """`‖x‖`, the root of the sum of the powers."""

    def compared(self, call: Call, pair: ComparedCall) -> Tensors:
        risen, slope, _, _ = self.slopes(call, pair)
        return risen * slope, slope

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> Tensor:
        along, slope = kept
        return in_dtype(along * wide(grad).reshape(slope.shape), call.dtype)

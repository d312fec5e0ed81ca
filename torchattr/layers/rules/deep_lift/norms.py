"""Normalisations: the product of centred values with the inverse of their size.

With `z` the centred values, `v = mean(z²)` and `r = 1 / √(v + ε)`, the output is `z r`. Its
difference is `mean(r) dz + mean(z) dr`, where `dr = slope(r) dv` and `dv = mean((z + z0) dz)`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from torchattr.kernels import along_channels
from torchattr.layers.operations.operation import Call, in_dtype
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import batchable
from torchattr.layers.rules.deep_lift.rescale import (
    RescaleRule,
    Tensors,
    mean_of,
    quotient,
    wide,
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

    def compared(self, call: Call, given: Tensors, reference: Tensors, outputs: Tensors) -> Tensors:
        z, z0 = (self._centred(self.rows(call, wide(one[0]))) for one in (given, reference))
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

    def compared(self, call: Call, given: Tensors, reference: Tensors, outputs: Tensors) -> Tensors:
        return super().compared(call, given, reference, outputs) if call.by_instance else ()

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> Tensor:
        if kept:
            return super().multiplied(call, grad, *kept)
        return call.vjp(grad, grad.new_zeros(call.shape))[0]


@register_rule("normalize", "rescale")
@batchable
class RescaleNormalize(RescaleRule):
    """`x / max(‖x‖, ε)`: powers of the elements, their sum, and its inverse root, by quotients."""

    def compared(self, call: Call, given: Tensors, reference: Tensors, outputs: Tensors) -> Tensors:
        x, x0 = wide(given[0]), wide(reference[0])
        power, power0 = x.abs().pow(call.p), x0.abs().pow(call.p)
        risen = quotient(x, x0, power - power0, self._slope_of_power(call), self.tolerance)
        u, u0 = (one.sum(call.dim, keepdim=True) for one in (power, power0))
        r, r0 = (_inverse_root(one, call) for one in (u, u0))
        slope = quotient(u, u0, r - r0, lambda at: _slope_of_root(at, call), self.tolerance)
        return mean_of(x, x0), (r + r0) / 2, risen, slope

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> Tensor:
        x, r, risen, slope = kept
        above = wide(grad)
        along = (above * x).sum(call.dim, keepdim=True) * slope
        return in_dtype(above * r + risen * along, call.dtype)

    def _slope_of_power(self, call: Call):  # type: ignore[no-untyped-def]
        return lambda at: call.p * at.abs().pow(call.p - 1) * at.sign()


def _inverse_root(u: Tensor, call: Call) -> Tensor:
    return u.pow(1 / call.p).clamp(min=call.eps).reciprocal()


def _slope_of_root(u: Tensor, call: Call) -> Tensor:
    root = u.pow(1 / call.p)
    return torch.where(root > call.eps, -u.pow(-1 / call.p - 1) / call.p, 0.0)

"""Softmax, alone and within attention: exponentials, the inverse of their sum, a product."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchattr.errors import ModelError
from torchattr.layers.operations.operation import Call, in_dtype
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import batchable
from torchattr.layers.rules.deep_lift.reference import Tolerance
from torchattr.layers.rules.deep_lift.rescale import (
    RescaleRule,
    Tensors,
    mean_of,
    quotient,
    wide,
)


@dataclass(frozen=True)
class _Softmax:
    """The softmax of input and reference over one dimension.

    The same number is subtracted from both, so that the exponentials stay finite.

    Attributes:
        dim: the dimension.
        exponential: the mean of both exponentials.
        inverse: the mean of the inverses of their sums.
        slope: that of the exponential.
        slope_of_inverse: that of the inverse of the sum.
        mean: the mean of both results.
    """

    dim: int
    exponential: Tensor
    inverse: Tensor
    slope: Tensor
    slope_of_inverse: Tensor
    mean: Tensor

    @classmethod
    def of(cls, x: Tensor, x0: Tensor, dim: int, tolerance: Tolerance) -> _Softmax:
        highest = torch.maximum(x.amax(dim, keepdim=True), x0.amax(dim, keepdim=True))
        # A row in which everything is masked has no highest value.
        highest = torch.where(highest.isfinite(), highest, 0.0)
        a, b = x - highest, x0 - highest
        e, e0 = a.exp(), b.exp()
        s, s0 = e.sum(dim, keepdim=True), e0.sum(dim, keepdim=True)
        slope = quotient(a, b, e - e0, torch.exp, tolerance)
        inverse = (1 / s + 1 / s0) / 2
        mean = mean_of(e / s, e0 / s0)
        return cls(dim, mean_of(e, e0), inverse, slope, -1 / (s * s0), mean)

    def multiplied(self, grad: Tensor) -> Tensor:
        """Return the multipliers of the softmax's input."""
        along = (grad * self.exponential).sum(self.dim, keepdim=True)
        return (grad * self.inverse + along * self.slope_of_inverse) * self.slope


@register_rule("softmax", "rescale")
@batchable
class RescaleSoftmax(RescaleRule):
    """`e r` with `e = exp(x)` and `r = 1 / sum(e)`, both by their slopes."""

    def compared(self, call: Call, given: Tensors, reference: Tensors, outputs: Tensors) -> Tensors:
        x, x0 = wide(given[0]), wide(reference[0])
        found = _Softmax.of(x, x0, _dim(call), self.tolerance)
        scaled = found.slope * found.inverse
        return scaled, found.slope, found.exponential, found.slope_of_inverse

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> Tensor:
        scaled, slope, exponential, slope_of_inverse = kept
        above = wide(grad)
        along = (above * exponential).sum(_dim(call), keepdim=True) * slope_of_inverse
        return in_dtype(above * scaled + slope * along, call.dtype)


@register_rule("attention", "rescale")
class RescaleAttention(RescaleRule):
    """The products of attention by the means of their factors, the softmax between by its slopes.

    The matrices are computed again in the backward: what is kept has the size of the inputs.
    """

    def compared(self, call: Call, given: Tensors, reference: Tensors, outputs: Tensors) -> Tensors:
        live = torch.tensor([one.requires_grad for one in given])
        return (*given, *reference, live)

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> tuple[Tensor | None, ...]:
        *both, live = kept
        q, k, v, q0, k0, v0 = map(wide, both)
        k, v, k0, v0 = (_for_queries(one, q) for one in (k, v, k0, v0))
        scale = q.shape[-1] ** -0.5 if call.scale is None else call.scale
        logits, logits0 = (
            _masked(a @ b.transpose(-1, -2) * scale, call) for a, b in ((q, k), (q0, k0))
        )
        weights = _Softmax.of(logits, logits0, -1, self.tolerance)
        above = wide(grad)
        below = weights.multiplied(above @ mean_of(v, v0).transpose(-1, -2)) * scale
        found = (
            below @ mean_of(k, k0),
            below.transpose(-1, -2) @ mean_of(q, q0),
            weights.mean.transpose(-1, -2) @ above,
        )
        return tuple(
            in_dtype(_shaped(one, shape), call.dtype) if goes else None
            for one, shape, goes in zip(found, call.shapes, live.tolist(), strict=True)
        )


def _dim(call: Call) -> int:
    dim = call.dim
    if dim is None:
        raise ModelError(
            "a softmax without dim chooses its dimension by the number of dimensions; pass dim"
        )
    return int(dim)


def _for_queries(values: Tensor, query: Tensor) -> Tensor:
    """Repeat the heads of keys or values that several heads of queries share."""
    if values.dim() < 3 or values.shape[-3] in (1, query.shape[-3]):
        return values
    return values.repeat_interleave(query.shape[-3] // values.shape[-3], -3)


def _shaped(values: Tensor, shape: torch.Size) -> Tensor:
    """Sum over what was repeated or expanded."""
    if len(shape) > 2 and values.shape[-3] > shape[-3] > 1:
        values = values.unflatten(-3, (shape[-3], -1)).sum(-3)
    return values.sum_to_size(shape)


def _masked(logits: Tensor, call: Call) -> Tensor:
    if call.is_causal:
        shape = logits.shape[-2:]
        causal = torch.ones(shape, dtype=torch.bool, device=logits.device).tril()
        logits = logits.masked_fill(~causal, -torch.inf)
    mask = call.attn_mask
    if mask is None:
        return logits
    return logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask

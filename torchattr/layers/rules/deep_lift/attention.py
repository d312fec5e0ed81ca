"""Softmax, alone and within attention: exponentials of logits, of which a mean is subtracted.

With `L` the logarithm of the sum of exponentials, a softmax is `p = exp(x - L)`, so that
`dp = s (dx - dL)` with the slope `s` of the exponential. As all `dp` sum to 0, `dL` is the mean of
`dx` with the weights `s`. Slopes are within 0 and 1, however far the logits are apart, and the
whole is the softmax's own gradient where they are equal. (A product of exponentials with the
inverse of their sum is complete as well, but multiplies by their ratio: 1e80 where logits differ by
180.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchattr.errors import ModelError
from torchattr.layers.operations.operation import Call, in_dtype, wide
from torchattr.layers.reference import Tolerance
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import batchable
from torchattr.layers.rules.attention_scores import Operands, signals_of
from torchattr.layers.rules.deep_lift.rescale import (
    ComparedCall,
    RescaleRule,
    Tensors,
    mean_of,
    quotient,
)


def _slopes(x: Tensor, x0: Tensor, dim: Any, tolerance: Tolerance) -> Tensor:
    """Return `(p - p0) / (log p - log p0)`: the logarithmic mean of both softmaxes over `dim`.

    That is `p (1 - exp(-d)) / d` for the larger p and the distance d of the logarithms, so that
    nothing cancels however close they are, or overflows however far apart.
    """
    z, z0 = (_log_softmax(one, dim) for one in (x, x0))
    larger = torch.maximum(z, z0)
    fall = (torch.minimum(z, z0) - larger).expm1_().mul_(larger.exp())
    return quotient(torch.minimum(z, z0), larger, fall, torch.exp, tolerance)


def _log_softmax(x: Tensor, dim: Any) -> Tensor:
    # Large logits would lose what the logarithm of their number adds.
    shifted = x - x.amax(dim, keepdim=True)
    return shifted - shifted.logsumexp(dim, keepdim=True)


def _multiplied(grad: Tensor, slopes: Tensor, dim: int) -> Tensor:
    """Return the multipliers of a softmax's input."""
    weights = slopes / slopes.sum(dim, keepdim=True)
    # They sum to 0. What rounding leaves, which a second step takes away, would be multiplied by
    # all that the logits have in common.
    for _ in range(2):
        grad = grad - (grad * weights).sum(dim, keepdim=True)
    return grad * slopes


@register_rule("softmax", "rescale")
@batchable
class RescaleSoftmax(RescaleRule):
    """`exp(x - L)` by its slopes, and `L = log(sum(exp(x)))` by their mean."""

    def compared(self, call: Call, pair: ComparedCall) -> Tensors:
        x, x0 = wide(pair.given[0]), wide(pair.reference[0])
        return (_slopes(x, x0, _dim(call), self.tolerance),)

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> Tensor:
        return in_dtype(_multiplied(wide(grad), kept[0], _dim(call)), call.dtype)


@register_rule("logsumexp", "rescale")
@batchable
class RescaleLogSum(RescaleRule):
    """`dL`: the mean of `dx`, weighted by the slopes of the softmax."""

    def compared(self, call: Call, pair: ComparedCall) -> Tensors:
        slopes = _slopes(wide(pair.given[0]), wide(pair.reference[0]), call.dim, self.tolerance)
        return (slopes / slopes.sum(call.dim, keepdim=True),)

    def multiplied(self, call: Call, grad: Tensor, *kept: Tensor) -> Tensor:
        above = wide(grad)
        if not call.keepdim:
            above = above.reshape(kept[0].sum(call.dim, keepdim=True).shape)
        return in_dtype(above * kept[0], call.dtype)


@register_rule("attention", "rescale")
class RescaleAttention(RescaleRule):
    """The products of attention by the means of their factors, the softmax between by its slopes.

    The matrices are computed again in the backward: what is kept has the size of the inputs.
    """

    def compared(self, call: Call, pair: ComparedCall) -> tuple[Any, ...]:
        return (*pair.given, *pair.reference, pair.dependent)

    def multiplied(self, call: Call, grad: Tensor, *kept: Any) -> tuple[Tensor | None, ...]:
        *both, dependent = kept
        half = len(both) // 2
        one, other = (Operands.of(call, given) for given in (both[:half], both[half:]))
        logits, logits0 = one.logits, other.logits
        slopes = _slopes(logits, logits0, -1, self.tolerance)
        above = wide(grad)
        below = _multiplied(above @ mean_of(one.value, other.value).transpose(-1, -2), slopes, -1)
        weights = mean_of(logits.softmax(-1), logits0.softmax(-1))
        found = signals_of(
            call,
            below @ mean_of(one.key, other.key) * one.scale,
            below.transpose(-1, -2) @ mean_of(one.query, other.query) * one.scale,
            weights.transpose(-1, -2) @ above,
            below,
        )
        return tuple(
            signal if goes else None for signal, goes in zip(found, dependent, strict=True)
        )


def _dim(call: Call) -> int:
    dim = call.dim
    if dim is None:
        raise ModelError(
            "a softmax without dim chooses its dimension by the number of dimensions; pass dim"
        )
    return int(dim)

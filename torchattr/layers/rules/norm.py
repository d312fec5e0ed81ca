"""Batch-norm at inference: a scale per channel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from torchattr.core.torch_private import foreach_add, foreach_mul, foreach_rsqrt_
from torchattr.kernels import along_channels
from torchattr.layers.operations.operation import Call
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import LayerRule, batchable, native_form


@register_rule("batch_norm", "gradient")
@native_form()
@batchable
class BatchNormGradient(LayerRule):
    """`g · w / √(var + ε)`, per channel: the running statistics are constants at inference."""

    needs_input: ClassVar[bool] = False
    fresh: ClassVar[bool] = True

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        scale = along_channels(scale_of(call), grad)
        return grad.mul_(scale) if call.owns_grad else grad * scale


def scale_of(call: Call) -> Tensor:
    """Return `w / √(var + ε)`, one value a channel."""
    if call.group is None:
        return _scales([call.arguments])[0]
    return call.group.constant(call.position, _scales)


def _scales(norms: Sequence[Mapping[str, Any]]) -> Sequence[Tensor]:
    """Return the scale of each batch-norm."""
    variances = foreach_add(
        [norm["running_var"] for norm in norms], [norm["eps"] for norm in norms]
    )
    foreach_rsqrt_(variances)
    if any(norm["weight"] is None for norm in norms):
        weights = [norm["weight"] for norm in norms]
        pairs = zip(variances, weights, strict=True)
        return [one if weight is None else one * weight for one, weight in pairs]
    return foreach_mul(variances, [norm["weight"] for norm in norms])

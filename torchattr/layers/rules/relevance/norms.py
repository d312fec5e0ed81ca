"""Normalisations with their statistics frozen: linear in the input, apart from their bias."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from torchattr.kernels import along_channels
from torchattr.layers.ledger import Reason, share_of_each, total
from torchattr.layers.operations.operation import Call, in_dtype
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import LayerRule, batchable
from torchattr.layers.rules.norm import BatchNormGradient, scale_of


@register_rule("batch_norm", "affine")
@batchable
class BatchNormRelevance(BatchNormGradient):
    """`g · w / √(var + ε)`: the running statistics are constants; the shift keeps its share."""

    fresh: ClassVar[bool] = False
    mergeable: ClassVar[bool] = True

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Reason, Tensor]:
        shift = -call.running_mean * scale_of(call)
        return _shared(grad, shift if call.bias is None else shift + call.bias)


class FrozenNorm(LayerRule):
    """`g` through a normalisation whose scale is a constant of the forward."""

    fresh: ClassVar[bool] = True

    def save(self, call: Call, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return (self.scale(call, x),)

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Reason, Tensor]:
        bias = call.arguments.get("bias")
        if bias is None:
            return {}
        normalized = call.arguments.get("normalized_shape")
        return _shared(grad, bias) if normalized is None else {"bias": total(grad * bias)}

    @abstractmethod
    def scale(self, call: Call, x: Tensor) -> Tensor:
        """Return what centred values are multiplied by, before the weights."""


@register_rule("layer_norm", "frozen")
@batchable
class LayerNormFrozen(FrozenNorm):
    """`(g w - mean(g w)) / σ`, the mean over the normalised dimensions."""

    def scale(self, call: Call, x: Tensor) -> Tensor:
        return _reciprocal_deviation(x, call.normalized_shape, call.eps)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        weighted = grad if call.weight is None else grad * in_dtype(call.weight, grad.dtype)
        dims = _last(len(call.normalized_shape))
        return (weighted - weighted.mean(dims, keepdim=True)).mul_(saved[0])


@register_rule("rms_norm", "frozen")
@batchable
class RMSNormFrozen(FrozenNorm):
    """`g w / rms`: nothing is centred."""

    def scale(self, call: Call, x: Tensor) -> Tensor:
        dims = _last(len(call.normalized_shape))
        eps = torch.finfo(x.dtype).eps if call.eps is None else call.eps
        return (x.square().mean(dims, keepdim=True) + eps).rsqrt()

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        weighted = grad if call.weight is None else grad * in_dtype(call.weight, grad.dtype)
        return weighted * saved[0]


@register_rule("group_norm", "frozen")
@batchable
class GroupNormFrozen(FrozenNorm):
    """As layer-norm, over each group of channels."""

    def groups(self, call: Call) -> int:
        """Return the number of groups of channels."""
        return int(call.num_groups)

    def scale(self, call: Call, x: Tensor) -> Tensor:
        grouped = x.reshape(len(x), self.groups(call), -1)
        return _reciprocal_deviation(grouped, grouped.shape[-1:], call.eps)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        weight = call.weight
        if weight is not None:
            grad = grad * along_channels(in_dtype(weight, grad.dtype), grad)
        grouped = grad.reshape(call.shape[0], self.groups(call), -1)
        centred = (grouped - grouped.mean(-1, keepdim=True)).mul_(saved[0])
        return centred.reshape(call.shape)


@register_rule("instance_norm", "frozen")
@batchable
class InstanceNormFrozen(GroupNormFrozen):
    """As layer-norm, over each channel; with running statistics an affine operation."""

    def groups(self, call: Call) -> int:
        return int(call.shape[1])

    def save(self, call: Call, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return (self.scale(call, x),) if call.by_instance else ()

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        if saved:
            return super().backward(call, grad, *saved)
        return call.vjp(grad, grad.new_zeros(call.shape))[0]

    def absorbed(self, call: Call, grad: Tensor, *saved: Tensor) -> Mapping[Reason, Tensor]:
        if saved:
            return super().absorbed(call, grad, *saved)
        return {"bias": total(grad * call.compute(grad.new_zeros(call.shape)))}


@register_rule("normalize", "frozen")
@batchable
class NormalizeFrozen(FrozenNorm):
    """`g / ‖x‖`."""

    def scale(self, call: Call, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, call.p, call.dim, keepdim=True)
        return norm.clamp(min=call.eps).reciprocal()

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        return grad * saved[0]


def _reciprocal_deviation(x: Tensor, shape: Sequence[int], eps: float) -> Tensor:
    """Return `1 / √(var + ε)` over the last dimensions, in a sixth of the time of `Tensor.var`."""
    return torch.native_layer_norm(x, list(shape), None, None, eps)[2]


def _shared(grad: Tensor, bias: Tensor) -> Mapping[Reason, Tensor]:
    """Return the share of a bias of each channel."""
    return {"bias": share_of_each(bias, grad, 1)}


def _last(count: int) -> tuple[int, ...]:
    return tuple(range(-count, 0))

"""A convolution or linear layer as a matrix that can have other entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from torchattr.layers.ledger import share_of_each
from torchattr.layers.operations.operation import Call, in_dtype
from torchattr.layers.rules.conv import conv_backward
from torchattr.layers.rules.norm import scale_of


@dataclass(frozen=True)
class AffineLayer:
    """`z = W x + b`: a convolution or linear layer, together with a batch-norm behind it.

    Attributes:
        call: the call, which gives stride, padding and so on.
        weight: `W`, in the layout of the call's own weight.
        bias: `b`, one value for each output channel.
    """

    call: Call
    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, call: Call) -> AffineLayer:
        """Return the layer of a call, in the dtype of its input."""
        weight = in_dtype(call.weight, call.dtype)
        bias = weight.new_zeros(_output_channels(call)) if call.bias is None else call.bias
        norm = call.place.norm
        if norm is not None and call.place.arrival.passes_norm:
            # In the norm's own precision, which may be higher than that of its input.
            scale = scale_of(norm)
            shift = -norm.running_mean * scale
            weight = in_dtype(weight * _along_outputs(call, scale), call.dtype)
            bias = bias * scale + (shift if norm.bias is None else norm.bias + shift)
        return cls(call, weight, in_dtype(bias, call.dtype))

    def apply(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return `W x + b` for other entries."""
        settings = self.call.arguments
        if self.call.operation.name == "linear":
            return F.linear(x, weight, bias)
        dims = weight.dim() - 2
        if settings["transposed"]:
            return _TRANSPOSED[dims](x, weight, bias, **_picked(settings, "output_padding"))
        return _CONVOLUTIONS[dims](x, weight, bias, **_picked(settings))

    def along_outputs(self, bias: Tensor) -> Tensor:
        """Return a bias so that it broadcasts along the output's channels."""
        if self.call.operation.name == "linear":
            return bias
        return bias.view(-1, *(1,) * (self.weight.dim() - 2))


def share_of_bias(call: Call, bias: Tensor, signal: Tensor) -> Tensor:
    """Return the relevance of a bias of a call's layer, given the gradient of its output."""
    return share_of_each(bias, signal, 1 - call.weight.dim())


def affine_backward(call: Call, signal: Tensor, weight: Tensor) -> Tensor:
    """Return `Wᵀ s` for a call's layer with other entries, shaped like its input."""
    if call.operation.name == "linear":
        return (signal @ weight).reshape(call.shape)
    return conv_backward(call, signal, weight)


_CONVOLUTIONS: Mapping[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: Mapping[int, Any] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}


def _picked(settings: Mapping[str, Any], *further: str) -> dict[str, Any]:
    names = ("stride", "padding", "dilation", "groups", *further)
    return {name: settings[name] for name in names}


def _output_channels(call: Call) -> int:
    is_transposed = call.operation.name == "conv" and call.transposed
    return int(call.weight.shape[1] * call.groups if is_transposed else call.weight.shape[0])


def _along_outputs(call: Call, scale: Tensor) -> Tensor:
    """Return one value for each output channel so that it broadcasts along the weight."""
    weight = call.weight
    if call.operation.name == "conv" and call.transposed:
        # (in, out / groups, ...): a group of inputs has its own outputs.
        inputs = weight.shape[0] // call.groups
        per_group = scale.view(call.groups, 1, -1).expand(-1, inputs, -1)
        return per_group.reshape(weight.shape[0], -1, *(1,) * (weight.dim() - 2))
    return scale.view(-1, *(1,) * (weight.dim() - 1))

"""Convolutions and matrix products."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.layers.operations.parsers.table import Parsed, aten, call_pattern, per_dimension


@call_pattern(
    "conv",
    *(torch.conv1d, torch.conv2d, torch.conv3d),
    *(aten.conv1d, aten.conv2d, aten.conv3d),
)
def _conv(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    zeros = (0,) * (weight.dim() - 2)
    return _convolution(input, weight, bias, stride, padding, dilation, False, zeros, groups)


@call_pattern(
    "conv",
    *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
    *(aten.conv_transpose1d, aten.conv_transpose2d, aten.conv_transpose3d),
)
def _conv_transpose(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Any:
    return _convolution(
        input, weight, bias, stride, padding, dilation, True, output_padding, groups
    )


@call_pattern("conv", torch.convolution, aten.convolution)
def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Any:
    dims = weight.dim() - 2
    arguments = {
        "weight": weight,
        "bias": bias,
        "stride": per_dimension(stride, dims),
        "padding": padding if isinstance(padding, str) else per_dimension(padding, dims),
        "dilation": per_dimension(dilation, dims),
        "transposed": transposed,
        "output_padding": per_dimension(output_padding, dims),
        "groups": groups,
    }
    return Parsed((input,), arguments)


@call_pattern("linear", F.linear, aten.linear)
def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    return Parsed((input,), {"weight": weight, "bias": bias})


@call_pattern("linear", aten.addmm.default)
def _addmm(bias: Tensor, input: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Any:
    if beta != 1 or alpha != 1 or bias.requires_grad:
        return None
    return Parsed((input,), {"weight": mat2.t(), "bias": bias})

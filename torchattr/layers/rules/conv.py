"""Convolution and transposed convolution: back through their own weights."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from torchattr.layers.operations.operation import Call, in_dtype
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import LayerRule, batchable, native_form


@register_rule("conv", "gradient")
@native_form()
@batchable
class ConvGradient(LayerRule):
    """The transposed convolution of `g`: needs the weights and the input's shape, nothing else."""

    needs_input: ClassVar[bool] = False
    fresh: ClassVar[bool] = True

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        return conv_backward(call, grad, in_dtype(call.weight, grad.dtype))


def conv_backward(call: Call, grad: Tensor, weight: Tensor) -> Tensor:
    """Return the transposed convolution of a gradient by the call's weight, or one of its shape."""
    padding = call.arguments["padding"]
    if isinstance(padding, str):
        return _padded_backward(call, grad, weight)
    return _backward(call, grad, call.blank(grad), weight, padding)


def _backward(
    call: Call, grad: Tensor, blank: Tensor, weight: Tensor, padding: tuple[int, ...]
) -> Tensor:
    settings = call.arguments
    result = torch.ops.aten.convolution_backward(
        grad,
        blank,
        weight,
        None,
        settings["stride"],
        padding,
        settings["dilation"],
        settings["transposed"],
        settings["output_padding"],
        settings["groups"],
        (True, False, False),
    )
    return result[0]


def _padded_backward(call: Call, grad: Tensor, weight: Tensor) -> Tensor:
    """Undo `padding="same"` or `"valid"`, which may pad one side more than the other."""
    before, after = _margins(call)
    dims = len(before)
    padded = [size + b + a for size, b, a in zip(call.shape[-dims:], before, after, strict=True)]
    blank = grad.new_empty(1).expand(*call.shape[:-dims], *padded)
    whole = _backward(call, grad, blank, weight, (0,) * dims)
    for d in range(dims):
        whole = whole.narrow(d - dims, before[d], call.shape[d - dims])
    return whole


def _margins(call: Call) -> tuple[list[int], list[int]]:
    extents = call.weight.shape[2:]
    if call.padding == "valid":
        return [0] * len(extents), [0] * len(extents)
    totals = [d * (k - 1) for d, k in zip(call.dilation, extents, strict=True)]
    return [total // 2 for total in totals], [total - total // 2 for total in totals]

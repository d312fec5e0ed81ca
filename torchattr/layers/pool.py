"""Pools: the maximum by its switches, the average by its shape alone."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchattr.kernels import Window
from torchattr.layers.ops import Call
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import LayerRule

aten = torch.ops.aten


@register_rule("max_pool", "gradient")
class MaxPoolGradient(LayerRule):
    """Sends each element back to the place that won its window: one byte a window remembers it.

    This is the unpooling by switches of Zeiler and Fergus (2014, 1311.2901).
    """

    needs_input: ClassVar[bool] = False
    fresh: ClassVar[bool] = True

    def run(self, call: Call, *inputs: Tensor) -> tuple[Any, tuple[Tensor, ...]] | None:
        if not call.drop_extras:
            return None
        output, switches = call.backend.max_pool(inputs[0], window_of(call))
        return output, (switches,)

    def save(self, call: Call, x: Tensor, y: Tensor, *extras: Tensor) -> tuple[Tensor, ...]:
        return (call.backend.pack_switches(extras[0], y, call.shape, window_of(call)),)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        window = window_of(call)
        if call.gate is None:
            return call.backend.unpool(grad, saved[0], call.shape, window)
        return call.backend.unpool_gated(grad, saved[0], call.shape, window, call.gate)


@register_rule("adaptive_max_pool", "gradient")
class AdaptiveMaxPoolGradient(LayerRule):
    """Sends each element back to the place that won: its windows differ, so it keeps the index."""

    needs_input: ClassVar[bool] = False

    def save(self, call: Call, x: Tensor, y: Tensor, *extras: Tensor) -> tuple[Tensor, ...]:
        return (extras[0].int(),)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        flat = grad.new_zeros(*call.shape[: -call.dims], prod(call.shape[-call.dims :]))
        index = saved[0].long().flatten(-call.dims)
        return flat.scatter_add_(-1, index, grad.flatten(-call.dims)).view(call.shape)


@register_rule("avg_pool", "gradient")
class AvgPoolGradient(LayerRule):
    """Spreads each element evenly over its window: needs the input's shape, nothing else."""

    needs_input: ClassVar[bool] = False

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        settings = (call.ceil_mode, call.count_include_pad, call.divisor_override)
        window = (call.kernel_size, call.stride, call.padding)
        blank = call.blank(grad)
        if len(call.kernel_size) == 3:
            return aten.avg_pool3d_backward(grad, blank, *window, *settings)
        if len(call.kernel_size) == 2:
            return aten.avg_pool2d_backward(grad, blank, *window, *settings)
        flat = ([1, *call.kernel_size], [1, *call.stride], [0, *call.padding])
        rows = (grad.unsqueeze(-2), blank.unsqueeze(-2))
        return aten.avg_pool2d_backward(*rows, *flat, *settings).squeeze(-2)


@register_rule("adaptive_avg_pool", "gradient")
class AdaptiveAvgPoolGradient(LayerRule):
    """Spreads each element evenly over its window: needs the input's shape, nothing else."""

    needs_input: ClassVar[bool] = False

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        if grad.shape[-call.dims :].numel() == 1:
            return (grad / prod(call.shape[-call.dims :])).expand(call.shape)
        blank = call.blank(grad)
        if call.dims == 3:
            return aten._adaptive_avg_pool3d_backward(grad, blank)
        if call.dims == 2:
            return aten._adaptive_avg_pool2d_backward(grad, blank)
        rows = (grad.unsqueeze(-2), blank.unsqueeze(-2))
        return aten._adaptive_avg_pool2d_backward(*rows).squeeze(-2)


def window_of(call: Call) -> Window:
    """Give the window of a max-pool's call."""
    return Window(call.kernel_size, call.stride, call.padding, call.dilation, call.ceil_mode)

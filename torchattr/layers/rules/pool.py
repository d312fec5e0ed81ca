"""Pools: max-pools need their switches, mean pools only the input's shape."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchattr.errors import ModelError
from torchattr.kernels import Window
from torchattr.layers.operations.operation import Call
from torchattr.layers.registry import register_rule
from torchattr.layers.rule import LayerRule, batchable, native_form

aten = torch.ops.aten


@register_rule("max_pool", "gradient")
@native_form()
class MaxPoolGradient(LayerRule):
    """Sends each element back to the winner of its window, which one byte per window records.

    This is the unpooling by switches of Zeiler and Fergus (2014, 1311.2901).
    """

    needs_input: ClassVar[bool] = False
    fresh: ClassVar[bool] = True

    def run(self, call: Call, *inputs: Tensor) -> tuple[Any, tuple[Tensor, ...]] | None:
        if not call.drop_extras:
            return None
        window = window_of(call)
        refuse_empty_windows(call.shape, window)
        output, switches = call.backend.max_pool(inputs[0], window)
        return output, (switches,)

    def save(self, call: Call, x: Tensor, y: Tensor, *extras: Tensor) -> tuple[Tensor, ...]:
        window = window_of(call)
        refuse_empty_windows(call.shape, window)
        return (call.backend.pack_switches(extras[0], y, call.shape, window),)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        window = window_of(call)
        known = call.place.arrival.output
        if known is not None and not window.overlaps:
            # What did not win is read by nothing.
            call.place.hand_down(lambda: call.backend.unpool(known(), saved[0], call.shape, window))
        call.place.leave()
        return call.backend.unpool(grad, saved[0], call.shape, window)


@register_rule("adaptive_max_pool", "gradient")
@native_form()
@batchable
class AdaptiveMaxPoolGradient(LayerRule):
    """Sends each element back to the winner; since its windows differ, it saves the index."""

    needs_input: ClassVar[bool] = False

    def save(self, call: Call, x: Tensor, y: Tensor, *extras: Tensor) -> tuple[Tensor, ...]:
        return (extras[0].int(),)

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        flat = grad.new_zeros(*call.shape[: -call.dims], prod(call.shape[-call.dims :]))
        index = saved[0].long().flatten(-call.dims)
        return flat.scatter_add_(-1, index, grad.flatten(-call.dims)).view(call.shape)


@register_rule("avg_pool", "gradient")
@native_form()
@batchable
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
@native_form()
@batchable
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
    """Return the window of a max-pool's call."""
    return Window(call.kernel_size, call.stride, call.padding, call.dilation, call.ceil_mode)


def refuse_empty_windows(shape: Sequence[int], window: Window) -> None:
    """Raise if a window lies completely in the padding, as a dilated one may.

    Nothing wins there: PyTorch returns minus infinity and an index outside of the input, to which
    its own backward then writes.

    Raises:
        ModelError: there is such a window.
    """
    if all(step == 1 for step in window.dilation):
        return
    settings = (window.extent, window.stride, window.padding, window.dilation)
    for size, *of_dim in zip(shape[-len(window.extent) :], *settings, strict=True):
        if _has_empty_window(size, *of_dim, window.ceil_mode):
            raise ModelError(
                f"a max-pool with window {window.extent}, padding {window.padding} and dilation"
                f" {window.dilation} has windows that lie in the padding as a whole for an input of"
                f" shape {tuple(shape)}; nothing wins there, so no gradient can go back. Use less"
                " padding or dilation, or a larger input"
            )


@lru_cache(maxsize=1024)
def _has_empty_window(
    size: int, extent: int, stride: int, padding: int, dilation: int, ceil_mode: bool
) -> bool:
    reach = size + 2 * padding - dilation * (extent - 1) - 1
    last = -(-reach // stride) if ceil_mode else reach // stride
    if ceil_mode and last * stride >= size + padding:
        last -= 1  # PyTorch omits windows that would start in the padding at the end.
    return any(
        not any(0 <= index * stride - padding + tap * dilation < size for tap in range(extent))
        for index in range(last + 1)
    )

"""The receptive field of one position of a layer, measured by a backward with marking rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.core.gradient_mode import gradients
from torchattr.core.inputs import as_arguments, as_inputs
from torchattr.core.outputs import any_output
from torchattr.core.select import find_layer
from torchattr.core.types import Forward, Layer
from torchattr.errors import LayerError
from torchattr.inspect.back_projection.local_conv import bounding_box, padding_before
from torchattr.inspect.map_layout import check_position, maps_of
from torchattr.layers import (
    OPERATIONS,
    AdaptiveAvgPoolGradient,
    Call,
    LayerRule,
    TapPoint,
    Trace,
)
from torchattr.methods import last_call

aten = torch.ops.aten

NOTHING_REACHES = "no input reaches this position of the layer"


def receptive_field(
    model: Forward,
    inputs: Tensor,
    layer: Layer,
    position: Sequence[int],
    *,
    additional_forward_args: object = None,
) -> tuple[slice, ...]:
    """Return the region of the input that one position of a layer can see, one slice per dimension.

    It is measured, not computed from a list of layers: marks are sent back from the position
    through the operations that the model runs; convolutions and pools pass them to their whole
    window. Branches and borders are therefore accounted for. An operation that mixes all positions,
    such as attention or squeeze-and-excitation, makes it the whole input.

    It is *not* the effective receptive field: it shows what can matter, not how much.

    Args:
        model: the model.
        inputs: pictures `(N, C, ...)`; only their shape matters.
        layer: the name of the layer, or the module.
        position: such as `(row, column)`, in the layer's resolution.
        additional_forward_args: additional positional arguments of the forward.

    Raises:
        LayerError: the layer did not run, or its output has no spatial dimensions.
        ShapeError: no such position.

    >>> import torch, torchattr as ta
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.MaxPool2d(2))
    >>> ta.receptive_field(model, torch.zeros(1, 3, 8, 8), "1", (0, 2))
    (slice(0, 4, None), slice(4, 8, None))
    """
    given = as_inputs(inputs)
    name, module = find_layer(model, layer)
    tap = TapPoint(module, with_layout=True)
    arguments = as_arguments(additional_forward_args)
    trace = Trace(model, given.tensors, arguments, tables=[REACH], taps=[tap], key=any_output)
    with gradients():
        values = maps_of(name, last_call(trace, tap), given.tensors)
        checked = check_position(position, values.shape[2:])
        index: tuple[slice | int, ...] = (slice(None), slice(None), *checked)
        scores = marked(values[index])
    (marks,) = trace.gradients(scores, trace.input_edges[:1], keep=False)
    box = None if marks is None else bounding_box(marks.flatten(0, 1))
    if box is None:
        raise LayerError(NOTHING_REACHES)
    return box


def marked(values: Tensor) -> Tensor:
    """Return what marks are sent back from: a score of the values `(N, channels)` of a position."""
    # Different weights: the sum of channels that were normalised together is constant.
    weights = torch.linspace(1, 2, values.shape[1], dtype=values.dtype, device=values.device)
    return (values * weights).sum(1)


class _ReachConv(LayerRule):
    """Marks all positions that a marked output of a convolution depends on."""

    needs_input: ClassVar[bool] = False

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        extents, none = call.weight.shape[2:], [0] * len(call.stride)
        if not call.transposed:
            return _spread(call, grad, extents, call.stride, padding_before(call), call.dilation)
        ones = grad.new_ones(1, 1, *extents)
        sent = aten.convolution(
            _marks(grad), ones, None, call.stride, call.padding, call.dilation, False, none, 1
        )
        return _marks(sent).expand(call.shape)


class _ReachPool(LayerRule):
    """Marks the windows of marked positions."""

    needs_input: ClassVar[bool] = False

    def save(self, call: Call, x: Tensor, y: Tensor, *extras: Tensor) -> tuple[Tensor, ...]:
        return ()

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        dilation = call.arguments.get("dilation", (1,) * len(call.stride))
        return _spread(call, grad, call.kernel_size, call.stride, call.padding, dilation)


class _ReachAdaptivePool(LayerRule):
    """Marks the windows of marked positions, which differ in size."""

    needs_input: ClassVar[bool] = False

    def save(self, call: Call, x: Tensor, y: Tensor, *extras: Tensor) -> tuple[Tensor, ...]:
        return ()

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        marks = _marks(grad).expand(grad.shape)
        return _marks(AdaptiveAvgPoolGradient().backward(call, marks)).expand(call.shape)


class _ReachNorm(LayerRule):
    """Marks all elements that are normalised together with a marked one.

    The gradient would say less: equal signals to all of them cancel.
    """

    needs_input: ClassVar[bool] = False

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        if call.operation.name == "layer_norm":
            together = grad.flatten(grad.dim() - len(call.normalized_shape))
        else:
            groups = call.arguments.get("num_groups", call.shape[1])
            together = grad.reshape(call.shape[0], groups, -1)
        marks = together.ne(0).any(-1, keepdim=True).to(grad.dtype)
        return marks.expand(together.shape).reshape(grad.shape)


class _Through(LayerRule):
    """Passes marks through an elementwise operation."""

    needs_input: ClassVar[bool] = False

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        return grad


def _marks(values: Tensor) -> Tensor:
    if values.stride(1) == 0:
        values = values[:, :1]  # All channels are one.
    return values.ne(0).any(1, keepdim=True).to(values.dtype)


def _spread(
    call: Call,
    grad: Tensor,
    extents: Sequence[int],
    stride: Sequence[int],
    before: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    none = [0] * len(stride)
    ones = grad.new_ones(1, 1, *extents)
    sent = aten.convolution(_marks(grad), ones, None, stride, none, dilation, True, none, 1)
    margins: list[int] = []
    for have, skip, size in zip(sent.shape[2:], before, call.shape[2:], strict=True):
        margins = [-skip, size + skip - have, *margins]
    return _marks(F.pad(sent, margins)).expand(call.shape)


REACH: dict[str, LayerRule] = {
    **{
        name: _Through()
        for name, operation in OPERATIONS.items()
        if operation.kind in ("rectifier", "activation")
    },
    "batch_norm": _Through(),
    **dict.fromkeys(("layer_norm", "group_norm", "instance_norm"), _ReachNorm()),
    "conv": _ReachConv(),
    "max_pool": _ReachPool(),
    "avg_pool": _ReachPool(),
    "adaptive_max_pool": _ReachAdaptivePool(),
    "adaptive_avg_pool": _ReachAdaptivePool(),
}
"""Rules under which everything that a position depends on is non-zero."""

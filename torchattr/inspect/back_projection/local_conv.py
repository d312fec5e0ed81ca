"""A convolution's backward that is computed only where the signal is not zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from torchattr.layers import Call, ConvGradient, LayerRule

aten = torch.ops.aten


class LocalConv(LayerRule):
    """The transposed convolution of `g`, computed only where `g` is not zero.

    What is skipped is a sum of zeros, so the result is that of the whole map, with its padding and
    borders.
    """

    needs_input: ClassVar[bool] = False

    def backward(self, call: Call, grad: Tensor, *saved: Tensor) -> Tensor:
        if call.transposed or grad.dim() != call.weight.dim():
            return ConvGradient().backward(call, grad)
        result = grad.new_zeros(call.shape)
        for signal, into in zip(grad, result, strict=True):
            _send(call, signal, into)
        return result


def _send(call: Call, signal: Tensor, into: Tensor) -> None:
    box = bounding_box(signal)
    if box is None:
        return
    sent = _unpadded(call, signal[within(box)])
    written, read = [], []
    for d, (edge, before) in enumerate(zip(box, padding_before(call), strict=True)):
        first = edge.start * call.stride[d] - before
        low, high = max(first, 0), min(first + sent.shape[1 + d], into.shape[1 + d])
        written.append(slice(low, max(low, high)))
        read.append(slice(low - first, max(low, high) - first))
    into[within(written)] = sent[within(read)]


def _unpadded(call: Call, signal: Tensor) -> Tensor:
    """Return the input gradient of the convolution without padding."""
    weight, none = call.weight.to(signal.dtype), [0] * len(call.stride)
    sizes = [
        (length - 1) * stride + dilation * (extent - 1) + 1
        for length, stride, dilation, extent in zip(
            signal.shape[1:], call.stride, call.dilation, weight.shape[2:], strict=True
        )
    ]
    blank = signal.new_empty(1, call.shape[1], *sizes)  # Only its shape is read.
    settings = (call.stride, none, call.dilation, False, none, call.groups)
    wanted = (True, False, False)
    sent = aten.convolution_backward(signal[None], blank, weight, None, *settings, wanted)
    return sent[0][0]


def within(box: Sequence[slice]) -> tuple[slice, ...]:
    """Return the index of a box in all channels of `(C, ...)`."""
    return (slice(None), *box)


def bounding_box(values: Tensor) -> tuple[slice, ...] | None:
    """Return the smallest box around the non-zero positions of `(C, ...)`, if there are any."""
    # Faster than asking for any(), and NaN stays marked.
    marked = values.abs().amax(0).ne(0)
    box = []
    for d in range(marked.dim()):
        others = [other for other in range(marked.dim()) if other != d]
        line = marked.any(others) if others else marked
        marks = line.nonzero()
        if not len(marks):
            return None
        box.append(slice(int(marks[0]), int(marks[-1]) + 1))
    return tuple(box)


def padding_before(call: Call) -> list[int]:
    """Return the padding of a convolution before each dimension."""
    if call.padding == "same":
        extents = call.weight.shape[2:]
        return [d * (k - 1) // 2 for d, k in zip(call.dilation, extents, strict=True)]
    return [0] * len(call.stride) if call.padding == "valid" else list(call.padding)

"""The operations of a backend, defined element by element in plain Python."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

import torch
from torch import Tensor

from torchattr.kernels import Gate, Window
from torchattr.kernels.layout import in_order, order_of


def naive_mask(output: Tensor, upper: float | None = None) -> list[int]:
    """Set bit `i % 8` of byte `i // 8` for the `i`-th element in memory order."""
    values = in_order(output, order_of(output)).tolist()
    mask = [0] * math.ceil(len(values) / 8)
    for number, value in enumerate(values):
        if value > 0 and (upper is None or value < upper):
            mask[number // 8] |= 1 << (number % 8)
    return mask


def naive_gate(grad: float, is_open: bool, gate: Gate) -> float:
    """Send one number back through a rectifier."""
    closed_by_sign = gate != "gradient" and grad < 0
    closed_by_mask = gate != "deconvolution" and not is_open
    return 0.0 if closed_by_sign or closed_by_mask else grad


def naive_relu_backward(grad: Tensor, open_: Tensor, gate: Gate) -> Tensor:
    pairs = zip(grad.flatten().tolist(), open_.flatten().tolist(), strict=True)
    gated = [naive_gate(value, passed, gate) for value, passed in pairs]
    return torch.tensor(gated, dtype=torch.float64).view(grad.shape).to(grad.dtype)


def naive_max_pool(x: Tensor, window: Window, sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the maxima and switches of windows at an output's positions.

    A later element wins only if it is larger, or NaN.
    """
    values = torch.full((*x.shape[: -len(sizes)], *sizes), -torch.inf, dtype=torch.float64)
    switches = torch.zeros(values.shape, dtype=torch.int64)
    for at in product(*map(range, values.shape)):
        best, won = -math.inf, None
        for number, position in _window(at, x.shape, window):
            value = float(x[position])
            if won is None or value > best or math.isnan(value):
                best, won = value, number
        values[at], switches[at] = best, 0 if won is None else won
        if window.tells_open and best > 0:
            switches[at] |= 128
    return values.to(x.dtype), switches.to(window.switch_dtype)


def naive_unpool(
    grad: Tensor, switches: Tensor, input_shape: Sequence[int], window: Window
) -> Tensor:
    """Add each element at the position that its switch names, in the precision of the result."""
    result = torch.zeros(tuple(input_shape), dtype=torch.float64)
    for at in product(*map(range, grad.shape)):
        chosen = int(switches[at]) & (127 if window.tells_open else -1)
        for number, position in _window(at, input_shape, window):
            if number == chosen:
                result[position] += float(grad[at])
    return result.to(grad.dtype)


def _window(
    at: Sequence[int], shape: Sequence[int], window: Window
) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield the elements of one window that are inside the input, with their numbers."""
    dims = len(window.extent)
    for number, steps in enumerate(product(*map(range, window.extent))):
        position = [
            at[d - dims] * window.stride[d] - window.padding[d] + steps[d] * window.dilation[d]
            for d in range(dims)
        ]
        if all(0 <= p < size for p, size in zip(position, shape[-dims:], strict=True)):
            yield number, (*at[:-dims], *position)


def same(one: Tensor, other: Tensor) -> bool:
    return (one.dtype, one.shape) == (other.dtype, other.shape) and torch.equal(
        one.cpu().nan_to_num(nan=12345.0), other.cpu().nan_to_num(nan=12345.0)
    )


def channels_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1).contiguous().movedim(-1, 1)

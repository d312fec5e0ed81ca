"""The hot operations as `torch.ops.torchattr.*`, for compiled and exported code.

Each uses the backend chosen at run time. They are not differentiable: they are the building blocks
of gradients. Windows are given as in PyTorch's own pools. Results have the memory order of the fake
implementations, on every backend.

>>> import torch, torchattr.kernels
>>> y, mask = torch.ops.torchattr.relu(torch.tensor([-1.0, 2.0, 0.0, 3.0]))
>>> y.tolist(), mask.tolist()
([0.0, 2.0, 0.0, 3.0], [10])
>>> torch.ops.torchattr.relu_backward(-y, mask, [0], "guided").abs().tolist()
[0.0, 0.0, 0.0, 0.0]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast, get_args

import torch
from torch import Tensor
from torch.library import custom_op

from torchattr.errors import BackendError
from torchattr.kernels.api import Backend, Request
from torchattr.kernels.dispatch import choose, requested_backend
from torchattr.kernels.gates import Gate
from torchattr.kernels.layout import (
    Order,
    Window,
    from_order,
    in_order,
    mask_bytes,
    order_of,
    pooled_with_indices,
)

GATES = get_args(Gate)


def _operation(name: str, schema: str, mutates: tuple[str, ...] = ()) -> Callable[..., Any]:
    return custom_op(f"torchattr::{name}", mutates_args=mutates, schema=schema)


@_operation("relu", "(Tensor x, float? upper=None) -> (Tensor, Tensor)")
def relu(x: Tensor, upper: float | None = None) -> tuple[Tensor, Tensor]:
    """Return `min(max(x, 0), upper)` and its mask; see :meth:`Backend.relu`."""
    output, mask = _backend(x).relu(x, upper)
    return output, mask


@relu.register_fake
def _(x: Tensor, upper: float | None = None) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), _mask_of(x)


@_operation("relu_", "(Tensor(a!) x, float? upper=None) -> Tensor", mutates=("x",))
def relu_(x: Tensor, upper: float | None = None) -> Tensor:
    """Apply ReLU to `x` in place and return the mask."""
    return _backend(x).relu(x, upper, overwrite=True)[1]


@relu_.register_fake
def _(x: Tensor, upper: float | None = None) -> Tensor:
    return _mask_of(x)


@_operation("relu_backward", "(Tensor grad, Tensor? mask, int[] order, str gate) -> Tensor")
def relu_backward(grad: Tensor, mask: Tensor | None, order: Sequence[int], gate: str) -> Tensor:
    """Propagate a gradient back through a ReLU; see :meth:`Backend.relu_backward`."""
    result = _backend(grad).relu_backward(grad, mask, tuple(order), _gate(gate))
    return _fresh(result, tuple(order), grad)


@relu_backward.register_fake
def _(grad: Tensor, mask: Tensor | None, order: Sequence[int], gate: str) -> Tensor:
    return _empty(grad, grad.shape, tuple(order))


_WINDOW = "int[] kernel_size, int[] stride, int[] padding, int[] dilation, bool ceil_mode"


@_operation("max_pool", f"(Tensor x, {_WINDOW}) -> (Tensor, Tensor)")
def max_pool(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> tuple[Tensor, Tensor]:
    """Return the maximum of each window and its switch; see :meth:`Backend.max_pool`."""
    window = _window(kernel_size, stride, padding, dilation, ceil_mode)
    values, switches = _backend(x).max_pool(x, window)
    return values, _fresh(switches, order_of(values), x)


@max_pool.register_fake
def _(x: Tensor, *window: Any) -> tuple[Tensor, Tensor]:
    requested = _window(*window)
    values, _ = pooled_with_indices(x, requested)
    return values, torch.empty_like(values, dtype=requested.switch_dtype)


@_operation(
    "unpool", f"(Tensor grad, Tensor switches, int[] shape, {_WINDOW}, str? gate=None) -> Tensor"
)
def unpool(
    grad: Tensor,
    switches: Tensor,
    shape: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    gate: str | None = None,
) -> Tensor:
    """Propagate a gradient back through a max-pool, and with `gate` through the ReLU before it.

    See :meth:`Backend.unpool` and :meth:`Backend.unpool_gated`.
    """
    window = _window(kernel_size, stride, padding, dilation, ceil_mode)
    backend = _backend(grad)
    if gate is None:
        result = backend.unpool(grad, switches, shape, window)
    else:
        result = backend.unpool_gated(grad, switches, shape, window, _gate(gate))
    return _fresh(result, order_of(switches), grad)


@unpool.register_fake
def _(grad: Tensor, switches: Tensor, shape: Sequence[int], *rest: Any) -> Tensor:
    return _empty(grad, shape, order_of(switches))


@_operation(
    "batch_norm_relu",
    "(Tensor x, Tensor scale, Tensor shift, float? upper=None) -> (Tensor, Tensor)",
)
def batch_norm_relu(
    x: Tensor, scale: Tensor, shift: Tensor, upper: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return `relu(x · scale + shift)` and its mask; see :meth:`Backend.batch_norm_relu`."""
    return _backend(x).batch_norm_relu(x, scale, shift, upper)


@batch_norm_relu.register_fake
def _(x: Tensor, scale: Tensor, shift: Tensor, upper: float | None = None) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x), _mask_of(x)


@_operation(
    "batch_norm_relu_backward",
    "(Tensor grad, Tensor? mask, Tensor scale, int[] order, str gate) -> Tensor",
)
def batch_norm_relu_backward(
    grad: Tensor, mask: Tensor | None, scale: Tensor, order: Sequence[int], gate: str
) -> Tensor:
    """Propagate a gradient back through a ReLU, then through the batch-norm before it.

    See :meth:`Backend.batch_norm_relu_backward`.
    """
    backend, memory = _backend(grad), tuple(order)
    result = backend.batch_norm_relu_backward(grad, mask, scale, memory, _gate(gate))
    return _fresh(result, memory, grad)


@batch_norm_relu_backward.register_fake
def _(grad: Tensor, mask: Tensor | None, scale: Tensor, order: Sequence[int], gate: str) -> Tensor:
    return _empty(grad, grad.shape, tuple(order))


def _backend(tensor: Tensor) -> Backend:
    return choose(Request(tensor.device, tensor.dtype), requested_backend())


def _gate(name: str) -> Gate:
    if name not in GATES:
        raise BackendError(f"gate must be one of {', '.join(map(repr, GATES))}, got {name!r}")
    return cast(Gate, name)


def _window(
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Window:
    return Window(tuple(kernel_size), tuple(stride), tuple(padding), tuple(dilation), ceil_mode)


def _mask_of(x: Tensor) -> Tensor:
    return x.new_empty(mask_bytes(x.numel()), dtype=torch.uint8)


def _empty(like: Tensor, shape: Sequence[int], order: Order) -> Tensor:
    elements = 1
    for size in shape:
        elements = elements * size
    return from_order(like.new_empty(elements), shape, order)


def _fresh(result: Tensor, order: Order, source: Tensor) -> Tensor:
    """Return a result in memory order `order`, which shares no memory with `source`."""
    run = in_order(result, order)
    run = run.clone() if run.data_ptr() == source.data_ptr() else run
    return from_order(run, result.shape, order)

"""Calls of the compiled kernels for max-pools and their backward."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

from torchattr.kernels.cpu.compile import shared_library
from torchattr.kernels.layout import Order, Window, channels_last, empty_in, lies_in, pooled_shape
from torchattr.kernels.pointers import address

_Triple = ctypes.c_int64 * 3


class _Pool(ctypes.Structure):
    _fields_ = (
        *((name, _Triple) for name in ("extent", "stride", "padding", "dilation")),
        *((name, _Triple) for name in ("input", "output")),
        *((name, ctypes.c_int64) for name in ("planes", "inner")),
    )


def order_for(tensor: Tensor, window: Window) -> Order | None:
    """Return the order of a dense tensor with channels first or last, `None` for any other."""
    plain = tuple(range(tensor.dim()))
    if lies_in(tensor, plain):
        return plain
    last = channels_last(tensor.dim())
    with_batch = tensor.dim() == len(window.extent) + 2
    return last if with_batch and lies_in(tensor, last) else None


def max_pool(x: Tensor, window: Window, order: Order) -> tuple[Tensor, Tensor]:
    shape = pooled_shape(tuple(x.shape), window)
    values = empty_in(order, shape, x)
    switches = empty_in(order, shape, x, torch.uint8)
    shared_library("max_pool").torchattr_max_pool(
        ctypes.byref(_pool(x.shape, shape, window, order)),
        _floats(x, x.shape, order),
        _floats(values, shape, order),
        _bytes(switches, shape, order),
        window.tells_open,
        torch.get_num_threads(),
    )
    return values, switches


def unpool(
    grad: Tensor,
    switches: Tensor,
    input_shape: Sequence[int],
    window: Window,
    order: Order,
    *,
    only_open: bool = False,
    clamps: bool = False,
) -> Tensor:
    """Send gradients back to the winners of a max-pool.

    Args:
        grad: as in :meth:`Backend.unpool`.
        switches: as in :meth:`Backend.unpool`.
        input_shape: as in :meth:`Backend.unpool`.
        window: as in :meth:`Backend.unpool`.
        order: memory order of the switches and of the result.
        only_open: whether windows whose maximum is not positive send back zero.
        clamps: whether negative results become zero.
    """
    shape = pooled_shape(tuple(input_shape), window)
    if not lies_in(grad, order):
        grad = empty_in(order, grad.shape, grad).copy_(grad)
    result = empty_in(order, input_shape, grad)
    shared_library("max_pool").torchattr_unpool(
        ctypes.byref(_pool(input_shape, shape, window, order)),
        _floats(grad, shape, order),
        _bytes(switches, shape, order),
        _floats(result, input_shape, order),
        window.tells_open,
        only_open,
        clamps,
        window.overlaps,
        torch.get_num_threads(),
    )
    return result


def _floats(tensor: Tensor, shape: Sequence[int], order: Order) -> int:
    return address(tensor.permute(order), torch.float32, prod(shape))


def _bytes(tensor: Tensor, shape: Sequence[int], order: Order) -> int:
    return address(tensor.permute(order), torch.uint8, prod(shape))


def _pool(
    input_shape: Sequence[int], output_shape: Sequence[int], window: Window, order: Order
) -> _Pool:
    """Return a pool in three dimensions, with leading ones for those that the window lacks."""
    dims = len(window.extent)
    planes, inner = prod(input_shape[:-dims]), 1
    if order == channels_last(len(order)) != tuple(range(len(order))):
        planes, inner = input_shape[0], input_shape[1]

    def padded(values: Sequence[int], fill: int = 1) -> ctypes.Array[ctypes.c_int64]:
        return _Triple(*[fill] * (3 - dims), *values)

    return _Pool(
        padded(window.extent),
        padded(window.stride),
        padded(window.padding, 0),
        padded(window.dilation),
        padded(input_shape[-dims:]),
        padded(output_shape[-dims:]),
        planes,
        inner,
    )

"""The compiled CPU backend: ReLUs and pools in one pass over memory, and operations on patches.

Nothing is compiled at import; the first call compiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from math import inf
from typing import ClassVar

import torch
from torch import Tensor

from torchattr.errors import BackendError
from torchattr.kernels.api import Backend, Request
from torchattr.kernels.cpu import pools
from torchattr.kernels.cpu.compile import compiles, shared_library
from torchattr.kernels.cpu.patches import CpuPatches
from torchattr.kernels.gates import Gate, Gating, clamps, reads_mask
from torchattr.kernels.layout import (
    Order,
    Window,
    channel_step,
    is_dense,
    lies_in,
    mask_bytes,
    prepare_buffers,
)
from torchattr.kernels.pointers import address, run_of
from torchattr.kernels.reference.backend import TorchBackend


class CpuBackend(Backend):
    """Serves float32 on CPUs of machines with a C++ compiler.

    The first use on a machine compiles for a few seconds; the result stays in the user's cache.
    """

    name: ClassVar[str] = "cpu"

    def __init__(self) -> None:
        self._reference = TorchBackend()

    def refusals(self, request: Request) -> list[str]:
        reasons = []
        if request.device.type != "cpu":
            reasons.append(f"it runs on the CPU, not on {request.device}")
        if request.dtype != torch.float32:
            reasons.append(f"it serves float32, not {str(request.dtype).removeprefix('torch.')}")
        return reasons or list(_missing())

    @cached_property
    def patches(self) -> CpuPatches:
        return CpuPatches()

    def pack_mask(self, output: Tensor, order: Order, upper: float | None) -> Tensor:
        if output.dtype != torch.float32 or not lies_in(output, order):
            return self._reference.pack_mask(output, order, upper)
        return _rectified(output, None, upper)

    def relu(
        self, x: Tensor, upper: float | None = None, overwrite: bool = False
    ) -> tuple[Tensor, Tensor]:
        if not is_dense(x):
            return self._reference.relu(x, upper, overwrite)
        output = x if overwrite else torch.empty_like(x)
        return output, _rectified(x, output, upper)

    def relu_backward(
        self, grad: Tensor, mask: Tensor | None, order: Order, gate: Gate, overwrite: bool = False
    ) -> Tensor:
        return _gated(grad, Gating.of(grad, mask, order, gate), overwrite)

    def batch_norm_relu_backward(
        self,
        grad: Tensor,
        mask: Tensor | None,
        scale: Tensor,
        order: Order,
        gate: Gate,
        overwrite: bool = False,
    ) -> Tensor:
        return _gated(grad, Gating.of(grad, mask, order, gate), overwrite, scale)

    def max_pool(self, x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        order = _pool_order(x, x, window)
        if order is None:
            return self._reference.max_pool(x, window)
        return pools.max_pool(x, window, order)

    def pack_switches(
        self, indices: Tensor, output: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        return self._reference.pack_switches(indices, output, input_shape, window)

    def unpool(
        self, grad: Tensor, switches: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        order = _pool_order(grad, switches, window)
        if order is None:
            return self._reference.unpool(grad, switches, input_shape, window)
        return pools.unpool(grad, switches, input_shape, window, order)

    def unpool_gated(
        self,
        grad: Tensor,
        switches: Tensor,
        input_shape: Sequence[int],
        window: Window,
        gate: Gate,
    ) -> Tensor:
        order = _pool_order(grad, switches, window)
        if order is None:
            return super().unpool_gated(grad, switches, input_shape, window, gate)
        return pools.unpool(
            grad,
            switches,
            input_shape,
            window,
            order,
            only_open=reads_mask(gate),
            clamps=clamps(gate),
        )


@cache
def _missing() -> tuple[str, ...]:
    try:
        shared_library("rectifier")
    except BackendError as error:
        return (str(error),)
    return ()


def _pool_order(values: Tensor, switches: Tensor, window: Window) -> Order | None:
    """Return the memory order of a pool if the kernels serve it, else `None`."""
    has_bytes = values.dtype == torch.float32 and window.elements <= 256
    serves = has_bytes and compiles("max_pool", "pools")
    return pools.order_for(switches, window) if serves else None


def _rectified(x: Tensor, output: Tensor | None, upper: float | None) -> Tensor:
    """Write the rectified `x` into `output`, if given, and return the mask."""
    count = x.numel()
    mask = torch.empty(mask_bytes(count), dtype=torch.uint8)
    shared_library("rectifier").torchattr_rectify(
        _floats(x, count),
        None if output is None else _floats(output, count),
        address(mask, torch.uint8, len(mask)),
        count,
        inf if upper is None else upper,
        torch.get_num_threads(),
    )
    return mask


def _floats(tensor: Tensor, count: int) -> int:
    return address(tensor, torch.float32, count, any_order=True)


def _gated(grad: Tensor, gating: Gating, overwrite: bool, scale: Tensor | None = None) -> Tensor:
    grad, result = prepare_buffers(grad, gating.order, overwrite)
    count = grad.numel()
    factors = None if scale is None else run_of(scale, torch.float32)
    channels = 1 if factors is None else grad.shape[1]
    shared_library("rectifier").torchattr_gate(
        _floats(grad, count),
        _floats(result, count),
        None if gating.mask is None else address(gating.mask, torch.uint8, mask_bytes(count)),
        count,
        gating.clamps,
        None if factors is None else address(factors, torch.float32, channels),
        1 if factors is None else max(1, channel_step(grad.shape, gating.order)),
        max(1, channels),
        torch.get_num_threads(),
    )
    return result

"""The compiled CPU backend: rectifiers and pools in one pass over memory, and patches.

Nothing is compiled when this is imported, but when the first call comes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cache
from math import inf
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchattr.errors import BackendError
from torchattr.kernels.api import Backend, Gate, Request
from torchattr.kernels.cpu import patches as cpu_patches
from torchattr.kernels.cpu import pools as cpu_pools
from torchattr.kernels.cpu.compile import library
from torchattr.kernels.layout import (
    Order,
    Window,
    channel_step,
    is_dense,
    lies_in,
    mask_bytes,
    order_of,
    prepare_buffers,
)
from torchattr.kernels.patches import Boxes, Convolution, Epilogue, Patches, Pooling
from torchattr.kernels.pointers import address, run_of
from torchattr.kernels.reference.backend import TorchBackend


class CpuBackend(Backend):
    """Serves float32 on CPUs where there is a C++ compiler.

    The first use on a machine compiles for some seconds; the result is kept in the user's cache.
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
        return _gated(grad, mask, order, gate, overwrite)

    def batch_norm_relu_backward(
        self,
        grad: Tensor,
        mask: Tensor | None,
        scale: Tensor,
        order: Order,
        gate: Gate,
        overwrite: bool = False,
    ) -> Tensor:
        return _gated(grad, mask, order, gate, overwrite, scale)

    def max_pool(self, x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        order = _pool_order(x, x, window)
        if order is None:
            return self._reference.max_pool(x, window)
        return cpu_pools.max_pool(x, window, order)

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
        return cpu_pools.unpool(grad, switches, input_shape, window, order)

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
        return cpu_pools.unpool(
            grad,
            switches,
            input_shape,
            window,
            order,
            needs_open=gate != "deconvolution",
            is_positive=gate != "gradient",
        )

    def gather(self, x: Patches, boxes: Boxes) -> Tensor:
        return self._on_patches(x).gather(x, boxes)

    def convolve(self, x: Patches, boxes: Boxes, conv: Convolution, after: Epilogue) -> Tensor:
        return self._on_patches(x).convolve(x, boxes, conv, after)

    def pool(self, x: Patches, boxes: Boxes, pooling: Pooling) -> Tensor:
        return self._on_patches(x).pool(x, boxes, pooling)

    def _on_patches(self, x: Patches) -> Any:
        serves = x.clean.dtype == torch.float32 and _has("patches", "patches")
        return cpu_patches if serves else self._reference


@cache
def _missing() -> tuple[str, ...]:
    try:
        library("rectifier")
    except BackendError as error:
        return (str(error),)
    return ()


def _pool_order(values: Tensor, laid: Tensor, window: Window) -> Order | None:
    """Give the order of a pool that the kernels serve: of these values, laid out like that."""
    serves = values.dtype == torch.float32 and window.places <= 256 and _has("max_pool", "pools")
    return cpu_pools.order_for(laid, window) if serves else None


@cache
def _has(source: str, what: str) -> bool:
    """Tell whether a source compiles; if not, say so once."""
    try:
        library(source)
    except BackendError as error:
        warnings.warn(f"{what} are left to the backend 'torch': {error}", stacklevel=2)
        return False
    return True


def _rectified(x: Tensor, output: Tensor | None, upper: float | None) -> Tensor:
    """Write the rectified `x` into `output`, if there is one, and give the mask."""
    count = x.numel()
    mask = torch.empty(mask_bytes(count), dtype=torch.uint8)
    library("rectifier").torchattr_rectify(
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


def _gated(
    grad: Tensor,
    mask: Tensor | None,
    order: Order,
    gate: Gate,
    overwrite: bool,
    scale: Tensor | None = None,
) -> Tensor:
    if gate == "deconvolution":
        # Without a mask, nothing but the gradient itself prescribes an order.
        mask, order = None, order_of(grad)
    grad, result = prepare_buffers(grad, order, overwrite)
    count = grad.numel()
    factors = None if scale is None else run_of(scale, torch.float32)
    channels = 1 if factors is None else grad.shape[1]
    library("rectifier").torchattr_gate(
        _floats(grad, count),
        _floats(result, count),
        None if mask is None else address(mask, torch.uint8, mask_bytes(count)),
        count,
        gate != "gradient",
        None if factors is None else address(factors, torch.float32, channels),
        1 if factors is None else max(1, channel_step(grad.shape, order)),
        max(1, channels),
        torch.get_num_threads(),
    )
    return result

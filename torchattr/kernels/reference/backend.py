"""The reference backend: plain PyTorch, with NumPy packing bits on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from torchattr.kernels.api import Backend, Request
from torchattr.kernels.gates import Gate, Gating
from torchattr.kernels.layout import (
    OPEN,
    Order,
    Window,
    in_order,
    mask_bytes,
    prepare_buffers,
)
from torchattr.kernels.reference.patches import TorchPatches
from torchattr.kernels.reference.pools import max_pool, positions_of, scatter

# One multiplication gathers the low bits of eight bytes into the top byte of their 64-bit word.
GATHER_BITS = 0x0102040810204080

# Elements processed at once: a chunk stays in the cache.
CHUNK = 2**20


class TorchBackend(Backend):
    """Serves every device and dtype; the other backends are tested against it."""

    name: ClassVar[str] = "torch"

    def refusals(self, request: Request) -> list[str]:
        return []

    @cached_property
    def patches(self) -> TorchPatches:
        return TorchPatches()

    def pack_mask(self, output: Tensor, order: Order, upper: float | None) -> Tensor:
        run = in_order(output, order)
        return _pack_numpy(run, upper) if _numpy_serves(run) else _pack_torch(run, upper)

    def relu_backward(
        self, grad: Tensor, mask: Tensor | None, order: Order, gate: Gate, overwrite: bool = False
    ) -> Tensor:
        gating = Gating.of(grad, mask, order, gate)
        if gating.mask is None:
            return grad.clamp_(min=0) if overwrite else grad.clamp(min=0)
        grad, result = prepare_buffers(grad, order, overwrite)
        _gate(in_order(grad, order), gating.mask, gating.clamps, into=in_order(result, order))
        return result

    def max_pool(self, x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        if x.device.type == "cpu" and x.is_contiguous() and window.elements <= 256:
            pooled = max_pool(x, window)
            if pooled is not None:
                return pooled[0], _switches(*pooled, window)
        return super().max_pool(x, window)

    def pack_switches(
        self, indices: Tensor, output: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        positions = positions_of(indices, input_shape[-len(window.extent) :], window)
        return _switches(output, positions, window)

    def unpool(
        self, grad: Tensor, switches: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        positions = switches & ~OPEN if window.tells_open else switches
        return scatter(grad, positions, input_shape, window)


def _switches(output: Tensor, positions: Tensor, window: Window) -> Tensor:
    """Return the switches of positions in windows: add whether each maximum is positive."""
    if window.tells_open:
        positions |= torch.gt(output, 0).view(torch.uint8) << 7
    return positions


_NUMPY_TYPES = (torch.float32, torch.float64, torch.bool)


def _numpy_serves(run: Tensor) -> bool:
    return run.device.type == "cpu" and run.dtype in _NUMPY_TYPES


def _pack_numpy(run: Tensor, upper: float | None) -> Tensor:
    """NumPy compares and packs several times faster than PyTorch does on a CPU."""
    values = run.detach().numpy()
    passed = values > values.dtype.type(0)
    if upper is not None:
        passed &= values < values.dtype.type(upper)
    # PyTorch's own memory can be freed early, when a mask proves to be unnecessary.
    return torch.from_numpy(np.packbits(passed, bitorder="little")).clone()


def _pack_torch(run: Tensor, upper: float | None) -> Tensor:
    passed = run.new_zeros(mask_bytes(run.numel()) * 8, dtype=torch.bool)
    torch.gt(run, 0, out=passed[: run.numel()])
    if upper is not None:
        passed[: run.numel()] &= run < upper
    words = passed.view(torch.uint8).view(torch.int64)
    return ((words * GATHER_BITS) >> 56).to(torch.uint8)


def _gate(run: Tensor, mask: Tensor, clamps: bool, into: Tensor) -> None:
    """Gate in chunks on a CPU: memory for a whole unpacked mask costs more than all the rest."""
    count = CHUNK if run.device.type == "cpu" else max(8, run.numel())
    chunks = zip(run.split(count), mask.split((count + 7) // 8), into.split(count), strict=True)
    for chunk, bits, result in chunks:
        # Unlike a product, this keeps an infinite gradient from turning a closed gate into NaN.
        passed = _unpack(bits, chunk)
        torch.ops.aten.threshold_backward.grad_input(chunk, passed, 0, grad_input=result)
        if clamps:
            result.clamp_(min=0)


def _unpack(mask: Tensor, like: Tensor) -> Tensor:
    """Return the mask as ones and zeros in the dtype of `like`, by one look-up for each byte."""
    table = _bits_of_bytes(like.dtype, like.device)
    return torch.embedding(table, mask.int()).view(-1)[: like.numel()]


@cache
def _bits_of_bytes(dtype: torch.dtype, device: torch.device) -> Tensor:
    byte = torch.arange(256, device=device)
    return ((byte[:, None] >> torch.arange(8, device=device)) & 1).to(dtype)

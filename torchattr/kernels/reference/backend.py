"""The backend that always works: plain PyTorch, with NumPy packing bits on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from torchattr.kernels.api import Backend, Gate, Request
from torchattr.kernels.layout import (
    OPEN,
    Order,
    Window,
    in_order,
    mask_bytes,
    prepare_buffers,
)
from torchattr.kernels.windows import places_of, pool, scatter

# One multiplication gathers the low bits of eight bytes into the top byte of their 64-bit word.
GATHER_BITS = 0x0102040810204080

# Elements worked on at once: a piece stays in the cache.
PIECE = 2**20


class TorchBackend(Backend):
    """Serves every device and dtype; what other backends are checked against."""

    name: ClassVar[str] = "torch"

    def refusals(self, request: Request) -> list[str]:
        return []

    def pack_mask(self, output: Tensor, order: Order, upper: float | None) -> Tensor:
        run = in_order(output, order)
        return _pack_numpy(run, upper) if _numpy_serves(run) else _pack_torch(run, upper)

    def relu_backward(
        self, grad: Tensor, mask: Tensor | None, order: Order, gate: Gate, overwrite: bool = False
    ) -> Tensor:
        if mask is None or gate == "deconvolution":
            return grad.clamp_(min=0) if overwrite else grad.clamp(min=0)
        grad, result = prepare_buffers(grad, order, overwrite)
        _gate(in_order(grad, order), mask, gate, into=in_order(result, order))
        return result

    def max_pool(self, x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        one_run = x.device.type == "cpu" and x.is_contiguous() and window.places <= 256
        found = pool(x, window) if one_run else None
        if found is not None:
            return found[0], _opened(*found, window)
        return super().max_pool(x, window)

    def pack_switches(
        self, indices: Tensor, output: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        places = places_of(indices, input_shape[-len(window.extent) :], window)
        return _opened(output, places, window)

    def unpool(
        self, grad: Tensor, switches: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        places = switches & ~OPEN if window.tells_open else switches
        return scatter(grad, places, input_shape, window)


def _opened(output: Tensor, places: Tensor, window: Window) -> Tensor:
    """Make switches of places: say in each whether its maximum is positive."""
    if window.tells_open:
        places |= torch.gt(output, 0).view(torch.uint8) << 7
    return places


_NUMPY_TYPES = (torch.float32, torch.float64, torch.bool)


def _numpy_serves(run: Tensor) -> bool:
    return run.device.type == "cpu" and run.dtype in _NUMPY_TYPES


def _pack_numpy(run: Tensor, upper: float | None) -> Tensor:
    """NumPy compares and packs several times faster than PyTorch does on a CPU."""
    values = run.detach().numpy()
    passed = values > values.dtype.type(0)
    if upper is not None:
        passed &= values < values.dtype.type(upper)
    # Memory of PyTorch's own can be given back early, when a mask proves to be needless.
    return torch.from_numpy(np.packbits(passed, bitorder="little")).clone()


def _pack_torch(run: Tensor, upper: float | None) -> Tensor:
    passed = run.new_zeros(mask_bytes(run.numel()) * 8, dtype=torch.bool)
    torch.gt(run, 0, out=passed[: run.numel()])
    if upper is not None:
        passed[: run.numel()] &= run < upper
    words = passed.view(torch.uint8).view(torch.int64)
    return ((words * GATHER_BITS) >> 56).to(torch.uint8)


def _gate(run: Tensor, mask: Tensor, gate: Gate, into: Tensor) -> None:
    """Work in pieces on a CPU: memory for a whole unpacked mask costs more than all the rest."""
    count = PIECE if run.device.type == "cpu" else max(8, run.numel())
    pieces = zip(run.split(count), mask.split((count + 7) // 8), into.split(count), strict=True)
    for piece, bits, result in pieces:
        # Unlike a product, this keeps an infinite gradient from turning a closed gate into NaN.
        passed = _unpack(bits, piece)
        torch.ops.aten.threshold_backward.grad_input(piece, passed, 0, grad_input=result)
        if gate == "guided":
            result.clamp_(min=0)


def _unpack(mask: Tensor, like: Tensor) -> Tensor:
    """Give the mask as ones and zeros of the dtype of `like`, by one look-up for eight of them."""
    table = _bits_of_bytes(like.dtype, like.device)
    return torch.embedding(table, mask.int()).view(-1)[: like.numel()]


@cache
def _bits_of_bytes(dtype: torch.dtype, device: torch.device) -> Tensor:
    byte = torch.arange(256, device=device)
    return ((byte[:, None] >> torch.arange(8, device=device)) & 1).to(dtype)

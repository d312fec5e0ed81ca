"""The backend that always works: plain PyTorch, with NumPy packing bits on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from torchattr.kernels.backend import Backend, Gate, Request
from torchattr.kernels.layout import Order, Window, from_order, in_order, mask_bytes

# One multiplication gathers the low bits of eight bytes into the top byte of their 64-bit word.
GATHER_BITS = 0x0102040810204080


class TorchBackend(Backend):
    """Serves every device and dtype; what other backends are checked against."""

    name: ClassVar[str] = "torch"

    def refusals(self, request: Request) -> list[str]:
        return []

    def pack_mask(self, output: Tensor, order: Order, upper: float | None) -> Tensor:
        passed = in_order(output, order) > 0
        if upper is not None:
            passed &= in_order(output, order) < upper
        return _pack(passed)

    def relu_backward(self, grad: Tensor, mask: Tensor | None, order: Order, gate: Gate) -> Tensor:
        if mask is None or gate == "deconvolution":
            return grad.clamp(min=0)
        run = in_order(grad, order)
        passed = _unpack(mask, run.numel())
        kept = run * passed if gate == "gradient" else run.clamp(min=0).mul_(passed)
        return from_order(kept, grad.shape, order)

    def pack_switches(self, indices: Tensor, input_shape: Sequence[int], window: Window) -> Tensor:
        spatial = input_shape[-len(window.extent) :]
        offset = indices - _corners(indices.shape, spatial, window, indices.device)
        switch = torch.zeros_like(indices)
        for d, extent in enumerate(window.extent):
            step = window.dilation[d] * prod(spatial[d + 1 :])
            place = offset.div(step, rounding_mode="floor") if step > 1 else offset
            offset = offset - place * step
            switch = switch.mul_(extent).add_(place)
        return switch.to(window.switch_dtype)

    def unpool(
        self, grad: Tensor, switches: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        spatial = input_shape[-len(window.extent) :]
        offsets = _offsets(spatial, window).to(grad.device)
        chosen = offsets.index_select(0, switches.reshape(-1).int()).view(switches.shape)
        indices = chosen.add_(_corners(grad.shape, spatial, window, grad.device))
        flat = grad.new_zeros(*input_shape[: -len(spatial)], prod(spatial))
        dims = len(spatial)
        flat.scatter_add_(-1, indices.flatten(-dims), grad.flatten(-dims))
        return flat.view(input_shape)


def _corners(
    output_shape: Sequence[int], spatial: Sequence[int], window: Window, device: torch.device
) -> Tensor:
    """Give the flat input index of each window's first place (outside the input with padding)."""
    corner = torch.zeros((), dtype=torch.long, device=device)
    for d, size in enumerate(output_shape[-len(spatial) :]):
        start = torch.arange(size, device=device) * window.stride[d] - window.padding[d]
        corner = corner.unsqueeze(-1) + start * prod(spatial[d + 1 :])
    return corner


def _offsets(spatial: Sequence[int], window: Window) -> Tensor:
    """Give the flat distance of each place of a window from its first one."""
    offset = torch.zeros((), dtype=torch.long)
    for d, extent in enumerate(window.extent):
        step = window.dilation[d] * prod(spatial[d + 1 :])
        offset = offset.unsqueeze(-1) + torch.arange(extent) * step
    return offset.reshape(-1)


def _pack(passed: Tensor) -> Tensor:
    if passed.device.type == "cpu":
        return torch.from_numpy(np.packbits(passed.numpy(), bitorder="little"))
    padded = passed.new_zeros(mask_bytes(passed.numel()) * 8)
    padded[: passed.numel()] = passed
    words = padded.view(torch.uint8).view(-1, 8).flip(1).contiguous().view(torch.int64).view(-1)
    return ((words * GATHER_BITS) >> 56).to(torch.uint8)


def _unpack(mask: Tensor, elements: int) -> Tensor:
    if mask.device.type == "cpu":
        bits = np.unpackbits(mask.numpy(), count=elements, bitorder="little")
        return torch.from_numpy(bits).view(torch.bool)
    shifts = torch.arange(8, dtype=torch.uint8, device=mask.device)
    return (mask[:, None] >> shifts).bitwise_and_(1).view(-1)[:elements].view(torch.bool)

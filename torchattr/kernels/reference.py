"""The backend that always works: plain PyTorch, with NumPy packing bits on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import prod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from torchattr.kernels.backend import Backend, Gate, Request
from torchattr.kernels.layout import Order, Window, from_order, in_order, mask_bytes

# One multiplication gathers the low bits of eight bytes into the top byte of their 64-bit word.
GATHER_BITS = 0x0102040810204080

# Elements worked on at once where a tensor is written over: a piece stays in the cache.
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
        run = in_order(grad, order)
        if overwrite and run.device.type == "cpu":
            _gate_in_place(run, mask, gate)
            return from_order(run, grad.shape, order)
        kept = _unpack(mask, run)
        _gate(run, kept, gate, into=kept)
        return from_order(kept, grad.shape, order)

    def pack_switches(self, indices: Tensor, input_shape: Sequence[int], window: Window) -> Tensor:
        spatial = input_shape[-len(window.extent) :]
        offsets = _offsets(spatial, window)
        if offsets.unique().numel() < window.places:
            return _divided(indices, spatial, window)
        places = torch.zeros(int(offsets[-1]) + 1, dtype=window.switch_dtype)
        places[offsets] = torch.arange(window.places).to(window.switch_dtype)
        places = places.to(indices.device)
        corners = _corners(indices.shape, spatial, window, indices.device)
        switches = torch.empty_like(indices, dtype=window.switch_dtype)
        for one, switch in zip(_pieces(indices), _pieces(switches), strict=True):
            distance = (one - corners).reshape(-1)
            switch.copy_(places.index_select(0, distance).view(one.shape))
        return switches

    def unpool(
        self, grad: Tensor, switches: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        spatial = input_shape[-len(window.extent) :]
        offsets = _offsets(spatial, window).to(grad.device)
        corners = _corners(grad.shape, spatial, window, grad.device)
        dims = len(spatial)
        flat = grad.new_zeros(*input_shape[:-dims], prod(spatial))
        pieces = zip(_pieces(grad), _pieces(switches), _pieces(flat), strict=True)
        for one, switch, into in pieces:
            chosen = offsets.index_select(0, switch.reshape(-1).int()).view(switch.shape)
            into.scatter_add_(-1, chosen.add_(corners).flatten(-dims), one.flatten(-dims))
        return flat.view(input_shape)


def _pieces(batch: Tensor) -> Sequence[Tensor]:
    """Give the examples one by one on a CPU, where what lies between then stays in the cache."""
    return batch.unbind() if batch.device.type == "cpu" else [batch]


def _divided(indices: Tensor, spatial: Sequence[int], window: Window) -> Tensor:
    """Find the places one dimension after the other.

    Where a padded window is wider than its input, two of its places can lie equally far from the
    first one, so that the distance alone does not tell them apart.
    """
    switch, rest = torch.zeros_like(indices), indices
    for d, extent in enumerate(window.extent):
        step = prod(spatial[d + 1 :])
        place = rest.div(step, rounding_mode="floor") if step > 1 else rest
        rest = rest - place * step
        place = place - _starts(indices.shape, d, window, indices.device)
        if window.dilation[d] > 1:
            place = place.div_(window.dilation[d], rounding_mode="floor")
        switch = switch.mul_(extent).add_(place)
    return switch.to(window.switch_dtype)


def _corners(
    output_shape: Sequence[int], spatial: Sequence[int], window: Window, device: torch.device
) -> Tensor:
    """Give the flat input index of each window's first place (outside the input with padding)."""
    corner = torch.zeros((), dtype=torch.long, device=device)
    for d in range(len(spatial)):
        corner = corner + _starts(output_shape, d, window, device) * prod(spatial[d + 1 :])
    return corner


def _starts(shape: Sequence[int], d: int, window: Window, device: torch.device) -> Tensor:
    """Give where windows start in spatial dimension `d`, to be broadcast over an output."""
    dims = len(window.extent)
    start = torch.arange(shape[d - dims], device=device) * window.stride[d] - window.padding[d]
    return start.view(-1, *(1,) * (dims - 1 - d))


def _offsets(spatial: Sequence[int], window: Window) -> Tensor:
    """Give the flat distance of each place of a window from its first one."""
    offset = torch.zeros((), dtype=torch.long)
    for d, extent in enumerate(window.extent):
        step = window.dilation[d] * prod(spatial[d + 1 :])
        offset = offset.unsqueeze(-1) + torch.arange(extent) * step
    return offset.reshape(-1)


def _numpy_serves(run: Tensor) -> bool:
    return run.device.type == "cpu" and run.dtype in (torch.float32, torch.float64)


def _pack_numpy(run: Tensor, upper: float | None) -> Tensor:
    """NumPy compares and packs several times faster than PyTorch does on a CPU."""
    values = run.detach().numpy()
    passed = values > values.dtype.type(0)
    if upper is not None:
        passed &= values < values.dtype.type(upper)
    return torch.from_numpy(np.packbits(passed, bitorder="little"))


def _pack_torch(run: Tensor, upper: float | None) -> Tensor:
    passed = run.new_zeros(mask_bytes(run.numel()) * 8, dtype=torch.bool)
    torch.gt(run, 0, out=passed[: run.numel()])
    if upper is not None:
        passed[: run.numel()] &= run < upper
    words = passed.view(torch.uint8).view(torch.int64)
    return ((words * GATHER_BITS) >> 56).to(torch.uint8)


def _gate(run: Tensor, passed: Tensor, gate: Gate, into: Tensor) -> None:
    # Unlike a product, this keeps an infinite gradient from turning a closed gate into NaN.
    torch.ops.aten.threshold_backward.grad_input(run, passed, 0, grad_input=into)
    if gate == "guided":
        into.clamp_(min=0)


def _gate_in_place(run: Tensor, mask: Tensor, gate: Gate) -> None:
    """Work in pieces: memory for a whole unpacked mask costs more than all the rest."""
    bits = mask.split(PIECE // 8)
    for piece, bytes_of_it in zip(run.split(PIECE), bits, strict=True):
        _gate(piece, _unpack(bytes_of_it, piece), gate, into=piece)


def _unpack(mask: Tensor, like: Tensor) -> Tensor:
    """Give the mask as ones and zeros of the dtype of `like`, by one look-up for eight of them."""
    table = _bits_of_bytes(like.dtype, like.device)
    return torch.embedding(table, mask.int()).view(-1)[: like.numel()]


@cache
def _bits_of_bytes(dtype: torch.dtype, device: torch.device) -> Tensor:
    byte = torch.arange(256, device=device)
    return ((byte[:, None] >> torch.arange(8, device=device)) & 1).to(dtype)

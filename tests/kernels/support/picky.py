"""A backend that serves float64 only and counts its calls, and a model for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from helpers import seeded
from torch import Tensor, nn

from torchattr.kernels import (
    Backend,
    Gate,
    Order,
    Request,
    TorchBackend,
    Window,
)

TORCH = TorchBackend()


class Picky(Backend):
    """Serves float64 only, and counts its calls."""

    name: ClassVar[str] = "picky"

    def __init__(self) -> None:
        self.calls: list[str] = []

    def refusals(self, request: Request) -> list[str]:
        reasons = []
        if request.dtype != torch.float64:
            reasons.append(f"{request.dtype} is too coarse")
        if request.device.type != "cpu":
            reasons.append("it runs on the CPU only")
        return reasons

    def pack_mask(self, output: Tensor, order: Order, upper: float | None) -> Tensor:
        self.calls.append("pack_mask")
        return TORCH.pack_mask(output, order, upper)

    def relu_backward(
        self, grad: Tensor, mask: Tensor | None, order: Order, gate: Gate, overwrite: bool = False
    ) -> Tensor:
        self.calls.append("relu_backward")
        return TORCH.relu_backward(grad, mask, order, gate, overwrite)

    def pack_switches(
        self, indices: Tensor, output: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        self.calls.append("pack_switches")
        return TORCH.pack_switches(indices, output, input_shape, window)

    def unpool(
        self, grad: Tensor, switches: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        self.calls.append("unpool")
        return TORCH.unpool(grad, switches, input_shape, window)


def model() -> nn.Module:
    return seeded(
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
            *(nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 3)),
        )
    )

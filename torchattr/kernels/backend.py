"""What a backend must do, and how it says that it cannot."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from torchattr.kernels.layout import Order, Window

Gate = Literal["gradient", "guided", "deconvolution"]


@dataclass(frozen=True)
class Request:
    """What a call will ask of a backend: where its tensors are and what they hold."""

    device: torch.device
    dtype: torch.dtype


class Backend(ABC):
    """The few hot operations of attribution, in the layout of :mod:`torchattr.kernels.layout`.

    A backend is a final class; importing its module must not load what it needs, only its first
    use may. :meth:`refusals` is asked before any other method.
    """

    name: ClassVar[str]

    @abstractmethod
    def refusals(self, request: Request) -> list[str]:
        """Give every reason why this backend cannot serve `request`; none means that it can."""

    @abstractmethod
    def pack_mask(self, output: Tensor, order: Order, upper: float | None) -> Tensor:
        """Pack where `0 < output < upper` into bits; no `upper` means no upper bound."""

    @abstractmethod
    def relu_backward(
        self, grad: Tensor, mask: Tensor | None, order: Order, gate: Gate, overwrite: bool = False
    ) -> Tensor:
        """Send a gradient back through a rectifier.

        `gradient` keeps it where the mask is set, `deconvolution` (which takes no mask) where it
        is positive itself, `guided` where both hold. `overwrite` allows to write over `grad`.
        """

    @abstractmethod
    def pack_switches(self, indices: Tensor, input_shape: Sequence[int], window: Window) -> Tensor:
        """Turn PyTorch's max-pool indices into switches."""

    @abstractmethod
    def unpool(
        self, grad: Tensor, switches: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        """Send each element of `grad` to the place that its switch names; overlaps add up."""

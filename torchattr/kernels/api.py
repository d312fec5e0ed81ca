"""What a backend must do, and how it says that it cannot."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from torchattr.kernels.layout import (
    Order,
    Window,
    along_channels,
    is_open,
    order_of,
    pooled_with_indices,
    rectified,
)
from torchattr.kernels.patches import Boxes, Convolution, Epilogue, Patches, Pooling
from torchattr.kernels.reference import patches as reference_patches

Gate = Literal["gradient", "guided", "deconvolution"]


@dataclass(frozen=True)
class Request:
    """What a call will ask of a backend: where its tensors are and what they hold."""

    device: torch.device
    dtype: torch.dtype


class Backend(ABC):
    """The few hot operations of attribution, in the layout of :mod:`torchattr.kernels.layout`.

    Four operations make a backend. The others stand here in terms of these four and of PyTorch; a
    backend that can do one of them in a single pass over memory overrides it. A backend is a final
    class; importing its module must not load what it needs, only its first use may.
    :meth:`refusals` is asked before any other method.

    `overwrite` allows to write over the first argument, and to return it; it does not require to.
    Results that have no order prescribed may lie in memory in any order.
    """

    name: ClassVar[str]

    @abstractmethod
    def refusals(self, request: Request) -> list[str]:
        """Give every reason why this backend cannot serve `request`; none means that it can."""

    def is_offered(self, request: Request) -> bool:
        """Tell whether to take this backend for `request` when none is asked for by name."""
        return not self.refusals(request)

    @abstractmethod
    def pack_mask(self, output: Tensor, order: Order, upper: float | None) -> Tensor:
        """Pack where `0 < output < upper` into bits; no `upper` means no upper bound.

        A rule with a gate of its own packs that: a boolean tensor is its own mask.
        """

    @abstractmethod
    def relu_backward(
        self, grad: Tensor, mask: Tensor | None, order: Order, gate: Gate, overwrite: bool = False
    ) -> Tensor:
        """Send a gradient back through a rectifier.

        `gradient` keeps it where the mask is set, `deconvolution` (which takes no mask) where it
        is positive itself, `guided` where both hold. It is selected, not multiplied: an infinite
        gradient does not pass a closed gate as NaN, and NaN passes an open one.
        """

    @abstractmethod
    def pack_switches(
        self, indices: Tensor, output: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        """Turn the indices and the output of PyTorch's max-pool into switches."""

    @abstractmethod
    def unpool(
        self, grad: Tensor, switches: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        """Send each element of `grad` to the place that its switch names; overlaps add up.

        The sum goes over the windows in row-major order: the same result in every run.
        """

    def relu(
        self, x: Tensor, upper: float | None = None, overwrite: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Give `min(max(x, 0), upper)` and its mask, in the memory order of the former."""
        output = rectified(x, upper, overwrite)
        return output, self.pack_mask(output, order_of(output), upper)

    def max_pool(self, x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        """Give the maximum of each window and its switch, ties and NaN as PyTorch breaks them."""
        output, indices = pooled_with_indices(x, window)
        return output, self.pack_switches(indices, output, x.shape, window)

    def unpool_gated(
        self,
        grad: Tensor,
        switches: Tensor,
        input_shape: Sequence[int],
        window: Window,
        gate: Gate,
    ) -> Tensor:
        """Send `grad` back through a max-pool and the rectifier before it, which it alone reads.

        The rectifier is open at a winner exactly if the window's maximum is positive, which the
        switch says; elsewhere nothing comes back. So no mask is needed.
        """
        if gate != "deconvolution":
            grad = torch.where(is_open(switches), grad, 0)
        if gate != "gradient" and not window.overlaps:
            grad = grad.clamp(min=0)
        result = self.unpool(grad, switches, input_shape, window)
        if gate == "gradient" or not window.overlaps:
            return result
        return self.relu_backward(result, None, order_of(result), "deconvolution", overwrite=True)

    def batch_norm_relu(
        self,
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        upper: float | None = None,
        overwrite: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Give `relu(x · scale + shift)`, with one `scale` and `shift` a channel, and its mask."""
        scale, shift = along_channels(scale, x), along_channels(shift, x)
        normed = x.mul_(scale) if overwrite else x * scale
        return self.relu(normed.add_(shift), upper, overwrite=True)

    def batch_norm_relu_backward(
        self,
        grad: Tensor,
        mask: Tensor | None,
        scale: Tensor,
        order: Order,
        gate: Gate,
        overwrite: bool = False,
    ) -> Tensor:
        """Send a gradient back through a rectifier, then through the batch-norm before it."""
        gated = self.relu_backward(grad, mask, order, gate, overwrite)
        return gated.mul_(along_channels(scale, gated))

    def gather(self, x: Patches, boxes: Boxes) -> Tensor:
        """Give the rows of `boxes`: changed where `x` is, clean elsewhere."""
        return reference_patches.gather(x, boxes)

    def convolve(self, x: Patches, boxes: Boxes, conv: Convolution, after: Epilogue) -> Tensor:
        """Give the rows of `boxes`, which are boxes of the output and may be any.

        Every pixel of them is computed from what is changed or clean; zeros surround the picture.
        """
        return reference_patches.convolve(x, boxes, conv, after)

    def pool(self, x: Patches, boxes: Boxes, pooling: Pooling) -> Tensor:
        """Give the rows of `boxes`, which are boxes of the output; NaN wins every maximum."""
        return reference_patches.pool(x, boxes, pooling)

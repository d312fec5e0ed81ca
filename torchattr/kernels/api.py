"""The interfaces of a backend: the hot operations of attribution, and operations on patches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from torchattr.kernels.gates import Gate, clamps, reads_mask
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


@dataclass(frozen=True)
class Request:
    """The device and dtype of the tensors of a call."""

    device: torch.device
    dtype: torch.dtype


class PatchOperations(ABC):
    """The hot operations of incremental ablation, on :class:`~torchattr.kernels.Patches`."""

    name: ClassVar[str]

    @abstractmethod
    def gather(self, x: Patches, boxes: Boxes) -> Tensor:
        """Return the rows of `boxes`: changed where `x` is changed, clean elsewhere."""

    @abstractmethod
    def convolve(self, x: Patches, boxes: Boxes, conv: Convolution, epilogue: Epilogue) -> Tensor:
        """Return the rows of `boxes`, which are any boxes of the output.

        Each of their pixels is computed from changed or clean pixels; zeros surround the image.
        """

    @abstractmethod
    def pool(self, x: Patches, boxes: Boxes, pooling: Pooling) -> Tensor:
        """Return the rows of `boxes`, which are boxes of the output; NaN wins every maximum."""


class Backend(ABC):
    """The few hot operations of attribution, in the layout of :mod:`torchattr.kernels.layout`.

    Four operations make a backend. The others are defined here by these four and PyTorch; a backend
    that can do one of them in a single pass over memory overrides it. A backend is a final class,
    constructed without arguments; importing its module must not load what it needs, only its first
    use may. :meth:`refusals` is called before any other method.

    `overwrite` permits, but does not require, to write over the first argument and to return it.
    Results whose order is not prescribed may be in any memory order.
    """

    name: ClassVar[str]

    @abstractmethod
    def refusals(self, request: Request) -> list[str]:
        """Return every reason why this backend cannot serve `request`; empty if it can."""

    def is_offered(self, request: Request) -> bool:
        """Whether to choose this backend for `request` when none is requested by name."""
        return not self.refusals(request)

    @property
    def patches(self) -> PatchOperations | None:
        """This backend's own operations on patches, always the same object; `None` if it has none.

        Without them, incremental ablation uses the reference's.
        """
        return None

    @abstractmethod
    def pack_mask(self, output: Tensor, order: Order, upper: float | None) -> Tensor:
        """Pack where `0 < output < upper` into bits; without `upper` there is no upper bound.

        A rule with a custom gate packs that: a boolean tensor is its own mask.
        """

    @abstractmethod
    def relu_backward(
        self, grad: Tensor, mask: Tensor | None, order: Order, gate: Gate, overwrite: bool = False
    ) -> Tensor:
        """Propagate a gradient back through a ReLU.

        `gradient` keeps it where the mask is set, `deconvolution` (which takes no mask) where it
        is positive itself, `guided` where both hold. It is selected, not multiplied: an infinite
        gradient does not pass a closed gate as NaN, and NaN passes an open one.
        """

    @abstractmethod
    def pack_switches(
        self, indices: Tensor, output: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        """Convert the indices and the output of PyTorch's max-pool to switches."""

    @abstractmethod
    def unpool(
        self, grad: Tensor, switches: Tensor, input_shape: Sequence[int], window: Window
    ) -> Tensor:
        """Add each element of `grad` to the input element that its switch names.

        The sum runs over the windows in row-major order: the same result in every run.
        """

    def relu(
        self, x: Tensor, upper: float | None = None, overwrite: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Return `min(max(x, 0), upper)` and its mask, in the memory order of the former."""
        output = rectified(x, upper, overwrite)
        return output, self.pack_mask(output, order_of(output), upper)

    def max_pool(self, x: Tensor, window: Window) -> tuple[Tensor, Tensor]:
        """Return each window's maximum and switch, with PyTorch's treatment of ties and NaN."""
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
        """Propagate `grad` back through a max-pool and the ReLU whose only consumer it is.

        The ReLU is open at a winner exactly if the window's maximum is positive, which the switch
        holds; everything else gets zero. So no mask is needed.
        """
        if reads_mask(gate):
            grad = torch.where(is_open(switches), grad, 0)
        if clamps(gate) and not window.overlaps:
            grad = grad.clamp(min=0)
        result = self.unpool(grad, switches, input_shape, window)
        if not clamps(gate) or not window.overlaps:
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
        """Return `relu(x · scale + shift)` and its mask, with one `scale` and `shift` a channel."""
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
        """Propagate a gradient back through a ReLU, then through the batch-norm before it."""
        gated = self.relu_backward(grad, mask, order, gate, overwrite)
        return gated.mul_(along_channels(scale, gated))

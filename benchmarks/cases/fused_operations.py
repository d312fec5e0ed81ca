"""The memory-bound operations: what a backend does, and what PyTorch does for the same purpose.

Each has the *eager sequence* that it replaces, which saves the same in PyTorch's own form: a
mask of one byte per element, indices of eight bytes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from math import ceil, prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measure.memory import MIB
from torchattr.kernels import Backend, Gate
from torchattr.kernels.layout import Window, from_order, in_order, order_of
from torchattr.kernels.reference.backend import TorchBackend

PLANES = (64, 112, 112)
"""Channels, height and width of the tensors: those of a first stage."""

Results = Sequence[Tensor]
EPSILON = 1e-5
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}


class Operation(ABC):
    """One operation on tensors of one size, with its inputs.

    Args:
        x: the input, or the gradient of a backward.
    """

    def __init__(self, name: str, x: Tensor) -> None:
        self.name = name
        self.x = x

    @property
    @abstractmethod
    def moved(self) -> int:
        """The bytes that must be read and written, each once."""

    @abstractmethod
    def by(self, backend: Backend) -> Results:
        """Run it on a backend."""

    @abstractmethod
    def eager(self) -> Results:
        """Run it with PyTorch's own operations."""

    @property
    def plain(self) -> Callable[[], Any] | None:
        """PyTorch's own operation without what attribution adds, where that is a target."""
        return None

    def expected(self) -> Results:
        """Return the expected results, in the form of :meth:`plainly`."""
        return self.eager()

    def plainly(self, found: Results) -> Results:
        """Convert a backend's results to the form of the eager ones."""
        return found

    @property
    def rounding(self) -> float:
        """Largest allowed difference, relative to the largest value."""
        return 0.0


class Relu(Operation):
    """Rectify, and record where the output is positive."""

    @property
    def moved(self) -> int:
        return 2 * self.x.nbytes + self.x.numel() // 8

    def by(self, backend: Backend) -> Results:
        return backend.relu(self.x)

    def eager(self) -> Results:
        output = self.x.relu()
        return output, output > 0

    @property
    def plain(self) -> Callable[[], Any]:
        return self.x.relu

    def plainly(self, found: Results) -> Results:
        output, mask = found
        return output, unpacked(mask, output)


class ReluBackward(Operation):
    """Send a signal back under a gate."""

    def __init__(self, name: str, x: Tensor, gate: Gate) -> None:
        super().__init__(name, x)
        self.gate = gate
        # Other values than the signal's in its own layout, which roll would not keep everywhere.
        self.output = torch.empty_like(x).copy_(x.roll(1, 0)).relu_()
        self.open = self.output > 0
        self.mask = TorchBackend().pack_mask(self.output, order_of(self.output), None)
        if gate == "deconvolution":
            self.mask = None

    @property
    def moved(self) -> int:
        mask = 0 if self.mask is None else self.mask.nbytes
        return 2 * self.x.nbytes + mask

    def by(self, backend: Backend) -> Results:
        return (backend.relu_backward(self.x, self.mask, order_of(self.output), self.gate),)

    def eager(self) -> Results:
        if self.gate == "deconvolution":
            return (torch.where(self.x > 0, self.x, 0),)
        kept = self.open & (self.x > 0) if self.gate == "guided" else self.open
        return (torch.where(kept, self.x, 0),)

    @property
    def plain(self) -> Callable[[], Any]:
        return lambda: torch.ops.aten.threshold_backward(self.x, self.output, 0)


class MaxPool(Operation):
    """Take the maximum of each window, and record which position won."""

    def __init__(self, name: str, x: Tensor, window: Window) -> None:
        super().__init__(name, x)
        self.window = window
        self.output, self.indices = self.eager()

    @property
    def moved(self) -> int:
        return self.x.nbytes + self.output.nbytes + self.output.numel()

    def by(self, backend: Backend) -> Results:
        return backend.max_pool(self.x, self.window)

    def eager(self) -> Results:
        window = self.window
        return F.max_pool2d(
            self.x, window.extent, window.stride, window.padding, return_indices=True
        )

    def expected(self) -> Results:
        switches = TorchBackend().pack_switches(
            self.indices, self.output, self.x.shape, self.window
        )
        return self.output, switches


class Unpool(Operation):
    """Send a signal back through a max-pool, and through the rectifier before it if gated."""

    def __init__(self, name: str, x: Tensor, window: Window, gate: Gate | None = None) -> None:
        pooled = MaxPool(name, x.relu() if gate else x, window)
        super().__init__(name, torch.randn_like(pooled.output))
        self.pooled = pooled
        self.gate = gate
        _, self.switches = pooled.expected()

    @property
    def moved(self) -> int:
        return self.x.nbytes + self.switches.nbytes + self.pooled.x.nbytes

    def by(self, backend: Backend) -> Results:
        before = self.pooled.x.shape
        if self.gate is None:
            return (backend.unpool(self.x, self.switches, before, self.pooled.window),)
        window = self.pooled.window
        return (backend.unpool_gated(self.x, self.switches, before, window, self.gate),)

    def eager(self) -> Results:
        window, before = self.pooled.window, self.pooled.x
        settings = (window.extent, window.stride, window.padding, window.dilation, False)
        result = torch.ops.aten.max_pool2d_with_indices_backward(
            self.x, before, *settings, self.pooled.indices
        )
        if self.gate is None:
            return (result,)
        return (torch.where((before > 0) & (result > 0), result, 0),)

    @property
    def rounding(self) -> float:
        return ROUNDING[self.x.dtype] if self.pooled.window.overlaps else 0.0


class BatchNormRelu(Operation):
    """Normalise as in eval mode, rectify, and record where the output is positive."""

    def __init__(self, name: str, x: Tensor) -> None:
        super().__init__(name, x)
        self.scale, self.shift = per_channel(x)
        # PyTorch refuses an epsilon of zero in some versions, so the variance makes up for it.
        self.mean, self.var = torch.zeros_like(self.scale), torch.full_like(self.scale, 1 - EPSILON)

    @property
    def moved(self) -> int:
        return 2 * self.x.nbytes + self.x.numel() // 8

    def by(self, backend: Backend) -> Results:
        return backend.batch_norm_relu(self.x, self.scale, self.shift)

    def eager(self) -> Results:
        given = (self.mean, self.var, self.scale, self.shift)
        output = F.batch_norm(self.x, *given, eps=EPSILON).relu_()
        return output, output > 0

    def expected(self) -> Results:
        return self.eager()[:1]

    def plainly(self, found: Results) -> Results:
        """Return the output where the mask agrees with it; NaN elsewhere."""
        output, mask = found
        agrees = unpacked(mask, output) == (output > 0)
        return (torch.where(agrees, output, torch.nan),)

    @property
    def rounding(self) -> float:
        return ROUNDING[self.x.dtype]


class BatchNormReluBackward(ReluBackward):
    """Propagate a gradient under a gate, and through the batch-norm before the rectifier."""

    def __init__(self, name: str, x: Tensor, gate: Gate) -> None:
        super().__init__(name, x, gate)
        self.scale, _ = per_channel(x)

    def by(self, backend: Backend) -> Results:
        order = order_of(self.output)
        found = backend.batch_norm_relu_backward(self.x, self.mask, self.scale, order, self.gate)
        return (found,)

    def eager(self) -> Results:
        (gated,) = super().eager()
        return (gated * self.scale.to(gated.dtype)[:, None, None],)

    @property
    def plain(self) -> None:
        return None

    @property
    def rounding(self) -> float:
        return ROUNDING[self.x.dtype]


def operations(
    images: int, device: torch.device, dtype: torch.dtype, memory: torch.memory_format
) -> dict[str, Callable[[], Operation]]:
    """Return a factory per operation, by name, on tensors of `images` images."""

    def x() -> Tensor:
        torch.manual_seed(0)
        drawn = torch.randn(images, *PLANES, device=device, dtype=dtype)
        return drawn.contiguous(memory_format=memory)

    large = Window((3, 3), (2, 2), (1, 1), (1, 1))
    small = Window((2, 2), (2, 2), (0, 0), (1, 1))
    made: dict[str, Callable[[str], Operation]] = {
        "relu": lambda name: Relu(name, x()),
        "relu_backward gradient": lambda name: ReluBackward(name, x(), "gradient"),
        "relu_backward guided": lambda name: ReluBackward(name, x(), "guided"),
        "relu_backward deconvolution": lambda name: ReluBackward(name, x(), "deconvolution"),
        "max_pool 2 × 2": lambda name: MaxPool(name, x(), small),
        "max_pool 3 × 3, stride 2": lambda name: MaxPool(name, x(), large),
        "unpool 2 × 2": lambda name: Unpool(name, x(), small),
        "unpool 3 × 3, stride 2": lambda name: Unpool(name, x(), large),
        "unpool_gated guided 2 × 2": lambda name: Unpool(name, x(), small, "guided"),
        "unpool_gated guided 3 × 3, stride 2": lambda name: Unpool(name, x(), large, "guided"),
        "batch_norm_relu": lambda name: BatchNormRelu(name, x()),
        "batch_norm_relu_backward guided": lambda name: BatchNormReluBackward(name, x(), "guided"),
    }
    return {name: partial(make, name) for name, make in made.items()}


def images_of(mebibytes: int, dtype: torch.dtype) -> int:
    """Return the number of images in a tensor of this size."""
    return max(1, ceil(mebibytes * MIB / (prod(PLANES) * dtype.itemsize)))


def wrong(operation: Operation, backend: Backend) -> str | None:
    """Return the error of a backend's result, or `None`."""
    found = operation.plainly(operation.by(backend))
    for one, right in zip(found, operation.expected(), strict=True):
        apart = (one.double() - right.double()).abs().max() / right.double().abs().max()
        if not bool(apart <= operation.rounding):
            return f"differs by {float(apart):.2g} of the largest value"
    return None


def per_channel(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return a positive scale and a shift for each channel."""
    steps = torch.linspace(0.5, 1.5, x.shape[1], device=x.device)
    return steps, steps - 1


def unpacked(mask: Tensor, output: Tensor) -> Tensor:
    """Return a packed mask as booleans in the shape of the output that it belongs to."""
    bits = (mask[:, None] >> torch.arange(8, device=mask.device)) & 1
    run = bits.flatten()[: in_order(output, order_of(output)).numel()].bool()
    return from_order(run, output.shape, order_of(output))

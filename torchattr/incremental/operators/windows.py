"""Convolutions and pools, with what is fused into them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from torch import Tensor

from torchattr.incremental.grid import Grid
from torchattr.incremental.op_counts import OpCounts, of_bytes, of_convolution
from torchattr.incremental.operators.operator import Changed, Operator
from torchattr.kernels import Boxes, Convolution, Epilogue, PatchOperations, Pooling
from torchattr.layers import Call

PACKED = 4
"""Ratio of the bytes of packed weights to those of the weights."""


@dataclass(frozen=True)
class Convolved(Operator):
    """A convolution with an optional inference batch-norm, sum and ReLU after it.

    A second input is added.

    Attributes:
        convolution: as the model called it.
        norm: the batch-norm after it.
        after: the bounds of a ReLU.
        open: whether more may be fused into it; a ReLU closes it.
    """

    inputs: tuple[int, ...]
    output: int
    grid: Grid
    convolution: Convolution
    norm: Call | None = None
    after: Epilogue = field(default_factory=Epilogue)
    open: bool = True

    @cached_property
    def folded(self) -> Convolution:
        """The convolution with the batch-norm folded into it."""
        return self.convolution if self.norm is None else _folded(self.convolution, self.norm)

    @property
    def held_bytes(self) -> int:
        return sum(made.nbytes for made in self.folded.packed.values())

    @property
    def packing_bytes(self) -> int:
        single = self.convolution.extent == (1, 1)
        return 0 if single else PACKED * self.convolution.weight.nbytes

    @property
    def reach(self) -> Hashable:
        conv = self.convolution
        window = (conv.stride, conv.padding, conv.dilation)
        return (*window, conv.groups, tuple(conv.weight.shape), conv.weight.dtype)

    def release(self) -> None:
        self.folded.packed.clear()

    def boxes(self, given: Sequence[Boxes]) -> Boxes:
        conv = self.convolution
        size = (self.grid.height, self.grid.width)
        reached = given[0].reached(conv.extent, conv.stride, conv.padding, conv.dilation, size)
        return reached.joined(given[1]) if len(given) > 1 else reached

    def run(self, given: Sequence[Changed], boxes: Boxes, backend: PatchOperations) -> Tensor:
        after = self.after
        if len(given) > 1:
            after = replace(after, residual=given[1].patches())
        return backend.convolve(given[0].patches(), boxes, self.folded, after)

    def op_counts(self, pixels: int, item: int) -> OpCounts:
        return of_convolution(self.convolution, pixels)


@dataclass(frozen=True)
class Pooled(Operator):
    """A max-pool or a mean over windows."""

    inputs: tuple[int, ...]
    output: int
    grid: Grid
    pooling: Pooling

    @property
    def reach(self) -> Hashable:
        return self.pooling

    def boxes(self, given: Sequence[Boxes]) -> Boxes:
        pooling = self.pooling
        size = (self.grid.height, self.grid.width)
        return given[0].reached(
            pooling.extent, pooling.stride, pooling.padding, pooling.dilation, size
        )

    def run(self, given: Sequence[Changed], boxes: Boxes, backend: PatchOperations) -> Tensor:
        return backend.pool(given[0].patches(), boxes, self.pooling)

    def op_counts(self, pixels: int, item: int) -> OpCounts:
        window = self.pooling.extent[0] * self.pooling.extent[1]
        return of_bytes(pixels * self.grid.channels * item * (window + 1))


def _folded(conv: Convolution, norm: Call) -> Convolution:
    """Fold an inference batch-norm into the scale of the weights and the bias."""
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    bias = -norm.running_mean.double() if conv.bias is None else conv.bias - norm.running_mean
    bias = bias * scale
    if norm.bias is not None:
        bias = bias + norm.bias.detach()
    kind = conv.weight.dtype
    return replace(conv, scale=scale.to(kind), bias=bias.to(kind), packed={})

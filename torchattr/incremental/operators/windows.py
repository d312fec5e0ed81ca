"""Convolutions and pools, with what is fused into them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from torchattr.core.gradient_mode import gradients
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

    @property
    def held_bytes(self) -> int:
        return sum(made.nbytes for made in self.convolution.packed.values())

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
        self.convolution.packed.clear()

    def boxes(self, given: Sequence[Boxes]) -> Boxes:
        conv = self.convolution
        size = (self.grid.height, self.grid.width)
        reached = given[0].reached(conv.extent, conv.stride, conv.padding, conv.dilation, size)
        return reached.joined(given[1]) if len(given) > 1 else reached

    def run(self, given: Sequence[Changed], boxes: Boxes, backend: PatchOperations) -> Tensor:
        if self.norm is not None:
            return folded([self])[0].run(given, boxes, backend)
        after = self.after
        if len(given) > 1:
            after = replace(after, residual=given[1].patches())
        return backend.convolve(given[0].patches(), boxes, self.convolution, after)

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


def folded(steps: Sequence[Convolved]) -> list[Convolved]:
    """Fold inference batch-norms into the scales of the weights and the biases.

    All at once: one after another, they would take more launches than the convolutions.

    Args:
        steps: convolutions with a batch-norm, of the same `eps`, dtype and device.
    """
    sizes = [len(step.convolution.weight) for step in steps]
    with gradients(False):
        scale, bias = (made.split(sizes) for made in _scale_and_bias(steps, sizes))
    return [
        replace(step, norm=None, convolution=replace(step.convolution, scale=s, bias=b, packed={}))
        for step, s, b in zip(steps, scale, bias, strict=True)
    ]


def _scale_and_bias(steps: Sequence[Convolved], sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the factors and the biases of all outputs, computed in double precision."""
    first = steps[0].convolution.weight
    zeros, ones = first.new_zeros(max(sizes)), first.new_ones(max(sizes))

    def joined(tensors: Iterable[Tensor | None], absent: Tensor) -> Tensor:
        several = zip(tensors, sizes, strict=True)
        return torch.cat([absent[:n] if one is None else one for one, n in several]).double()

    norms = [step.norm for step in steps if step.norm is not None]
    scale = (joined((norm.running_var for norm in norms), ones) + norms[0].eps).rsqrt()
    scale *= joined((norm.weight for norm in norms), ones)
    bias = joined((step.convolution.bias for step in steps), zeros)
    bias -= joined((norm.running_mean for norm in norms), zeros)
    bias = bias * scale + joined((norm.bias for norm in norms), zeros)
    return scale.to(first.dtype), bias.to(first.dtype)

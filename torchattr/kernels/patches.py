"""Patches: the part of an activation that a change of the input can affect, and the clean rest.

A *variant* is one of the clean images with a part replaced. Its activation differs from that of
its clean image at most inside a rectangle of pixels, its *box*. Activations are channels-last, one
row a pixel:

* `clean` is `(N, H, W, C)`, contiguous: the activation of the clean images;
* `changed` is `(rows, C)`, contiguous: the pixels of every variant's box, variant after variant,
  each box row by row from its top left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int64]

IMAGE, TOP, LEFT, BOTTOM, RIGHT, START = range(6)


@dataclass(frozen=True)
class Boxes:
    """The box of each variant: `[top, bottom) × [left, right)` of one clean image.

    Attributes:
        table: `(variants, 6)`, contiguous: the image, top, left, bottom, right, and the row of
            `changed` at which the box starts. A box may be empty.
        packed: data that a backend derived from the table, cached for its next call.
    """

    table: Ints
    packed: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, image: Ints, top: Ints, left: Ints, bottom: Ints, right: Ints) -> Boxes:
        """Return boxes with these sides; empty ones are moved to the origin."""
        return cls._of(image, np.stack([top, left, bottom, right], axis=1))

    @classmethod
    def _of(cls, image: Ints, sides: Ints) -> Boxes:
        table = np.empty((len(sides), START + 1), dtype=np.int64)
        high, wide = (sides[:, BOTTOM - 1 :] - sides[:, : BOTTOM - 1]).T
        areas = high * wide
        if (high <= 0).any() or (wide <= 0).any():
            is_filled = (high > 0) & (wide > 0)
            areas, sides = areas * is_filled, sides * is_filled[:, None]
        table[:, IMAGE] = image
        table[:, TOP:START] = sides
        table[:, START] = areas.cumsum() - areas
        return cls(table)

    def __len__(self) -> int:
        return len(self.table)

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Boxes) and np.array_equal(self.table, other.table)
        )

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def areas(self) -> Ints:
        """Number of pixels of each box."""
        table = self.table
        areas: Ints = (table[:, BOTTOM] - table[:, TOP]) * (table[:, RIGHT] - table[:, LEFT])
        return areas

    @cached_property
    def rows(self) -> int:
        """Number of pixels of all boxes."""
        return int(self.areas.sum())

    @property
    def positions(self) -> tuple[Ints, Ints, Ints]:
        """Variant, row and column of every pixel of the boxes, in their order."""
        owner = np.repeat(np.arange(len(self)), self.areas)
        _, top, left, _, right, start = self.table[owner].T
        down, along = np.divmod(np.arange(self.rows) - start, np.maximum(right - left, 1))
        return owner, top + down, left + along

    def reached(
        self,
        extent: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        size: Sequence[int],
    ) -> Boxes:
        """Return the boxes of outputs whose sliding window covers part of these, clipped.

        Args:
            extent: kernel size in both dimensions.
            stride: as in a convolution.
            padding: before the first pixel.
            dilation: as in a convolution.
            size: height and width of the output.
        """
        moves = (*extent, *stride, *padding) != (1, 1, 1, 1, 0, 0)
        if not moves and (self.table[:, BOTTOM:START] <= size).all():
            return self
        low, high = self.table[:, TOP:BOTTOM], self.table[:, BOTTOM:START]
        before, steps = np.asarray(padding), np.asarray(stride)
        span = np.multiply(dilation, np.asarray(extent) - 1)
        first = -((span - before - low) // steps)
        last = (high - 1 + before) // steps + 1
        sides = np.concatenate([first, last], axis=1)
        sides = np.minimum(np.maximum(sides, 0), (*size, *size))
        empty = self.areas == 0
        if empty.any():
            sides[empty] = 0
        return Boxes._of(self.table[:, IMAGE], sides)

    def joined(self, other: Boxes) -> Boxes:
        """Return the smallest boxes that contain both."""
        if self == other:
            return self
        ours, theirs = self.areas[:, None] > 0, other.areas[:, None] > 0
        low = np.minimum(self.table[:, TOP:BOTTOM], other.table[:, TOP:BOTTOM])
        high = np.maximum(self.table[:, BOTTOM:START], other.table[:, BOTTOM:START])
        both = np.concatenate([low, high], axis=1)
        either = np.where(ours, self.table[:, TOP:START], other.table[:, TOP:START])
        return Boxes._of(self.table[:, IMAGE], np.where(ours & theirs, both, either))

    @classmethod
    def whole(cls, image: Ints, height: int, width: int) -> Boxes:
        """Return boxes that cover the whole activation."""
        zeros = np.zeros_like(image)
        return cls.of(image, zeros, zeros, zeros + height, zeros + width)


@dataclass(frozen=True)
class Patches:
    """An activation of all variants.

    Attributes:
        clean: `(N, H, W, C)`, contiguous.
        changed: `(rows, C)`, contiguous.
        boxes: the box of each variant.
    """

    clean: Tensor
    changed: Tensor
    boxes: Boxes


@dataclass(frozen=True)
class Convolution:
    """A 2-d convolution with zero padding.

    Attributes:
        weight: `(out, in / groups, kernel height, kernel width)`, as in PyTorch.
        bias: `(out,)`, if any.
        stride: as in PyTorch.
        padding: before the first row and column; that after the last follows from the size of the
            output.
        dilation: as in PyTorch.
        groups: as in PyTorch.
        scale: `(out,)`, a factor for the weights of each output, if any.
        packed: data that a backend derived from the weights, cached for its next call.
    """

    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    scale: Tensor | None = None
    packed: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def scaled(self) -> Convolution:
        """The same convolution with scaled weights, for backends that do not apply the scale.

        Their taps come first in memory, then inputs, then outputs, as products read them.
        """
        if self.scale is None:
            return self
        taps_first = self.weight.detach().permute(2, 3, 1, 0)
        made = taps_first.new_empty(taps_first.shape)
        weight = torch.mul(taps_first, self.scale, out=made).permute(3, 2, 0, 1)
        return replace(self, weight=weight, scale=None, packed={})

    @property
    def extent(self) -> tuple[int, int]:
        return int(self.weight.shape[2]), int(self.weight.shape[3])


@dataclass(frozen=True)
class Epilogue:
    """The operations fused onto a convolution, applied to each output before it is written.

    `min(max(output + residual, lower), upper)`; NaN stays NaN.

    Attributes:
        residual: an activation with the output's height, width and channels, and its own boxes.
        lower: 0 for a ReLU.
        upper: 6 for a ReLU6.
    """

    residual: Patches | None = None
    lower: float = -inf
    upper: float = inf


@dataclass(frozen=True)
class Pooling:
    """A 2-d max or mean pool.

    Attributes:
        maximum: whether it takes the maximum, without the padding; otherwise the mean.
        extent: height and width of the window.
        stride: as in PyTorch.
        padding: as for :class:`Convolution`.
        dilation: as in PyTorch.
        counts_padding: whether a mean counts the window's elements in the padding.
        divisor: a fixed divisor for means.
    """

    maximum: bool
    extent: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    counts_padding: bool = True
    divisor: int | None = None

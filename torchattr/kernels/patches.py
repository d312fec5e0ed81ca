"""Patches: what a change of the input can reach in an activation, and the clean rest around it.

A *variant* is one of the clean images with something replaced. In an activation it differs from
its clean image inside a rectangle of pixels at most, its *box*. Activations lie with their channels
fastest, one row a pixel:

* `clean` is `(N, H, W, C)`, contiguous: the activation of the images as they are;
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
        packed: what a backend made of the table, kept for the next call.
    """

    table: Ints
    packed: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, image: Ints, top: Ints, left: Ints, bottom: Ints, right: Ints) -> Boxes:
        """Make boxes of their sides; what is empty is put at the origin."""
        return cls._of(image, np.stack([top, left, bottom, right], axis=1))

    @classmethod
    def _of(cls, image: Ints, sides: Ints) -> Boxes:
        table = np.empty((len(sides), START + 1), dtype=np.int64)
        high, wide = (sides[:, BOTTOM - 1 :] - sides[:, : BOTTOM - 1]).T
        areas = high * wide
        if (high <= 0).any() or (wide <= 0).any():
            filled = (high > 0) & (wide > 0)
            areas, sides = areas * filled, sides * filled[:, None]
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
        """The pixels of each box."""
        table = self.table
        areas: Ints = (table[:, BOTTOM] - table[:, TOP]) * (table[:, RIGHT] - table[:, LEFT])
        return areas

    @cached_property
    def rows(self) -> int:
        """The pixels of all boxes."""
        return int(self.areas.sum())

    @property
    def places(self) -> tuple[Ints, Ints, Ints]:
        """The variant, the row and the column of every pixel of the boxes, in their order."""
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
        """Give the boxes of the outputs of a sliding window that look into these, clipped.

        Args:
            extent: the window's taps in each of the two dimensions.
            stride: its steps.
            padding: what is put before the first pixel.
            dilation: the distance of its taps.
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
        """Give the smallest boxes that hold both."""
        if self == other:
            return self
        ours, theirs = self.areas[:, None] > 0, other.areas[:, None] > 0
        low = np.minimum(self.table[:, TOP:BOTTOM], other.table[:, TOP:BOTTOM])
        high = np.maximum(self.table[:, BOTTOM:START], other.table[:, BOTTOM:START])
        both = np.concatenate([low, high], axis=1)
        one = np.where(ours, self.table[:, TOP:START], other.table[:, TOP:START])
        return Boxes._of(self.table[:, IMAGE], np.where(ours & theirs, both, one))

    @classmethod
    def whole(cls, image: Ints, height: int, width: int) -> Boxes:
        """Give boxes that cover everything."""
        none = np.zeros_like(image)
        return cls.of(image, none, none, none + height, none + width)


@dataclass(frozen=True)
class Patches:
    """An activation of all variants.

    Attributes:
        clean: `(N, H, W, C)`, contiguous.
        changed: `(rows, C)`, contiguous.
        boxes: where they belong.
    """

    clean: Tensor
    changed: Tensor
    boxes: Boxes


@dataclass(frozen=True)
class Convolution:
    """A 2-d convolution, its padding zeros.

    Attributes:
        weight: `(out, in / groups, kernel height, kernel width)`, as PyTorch holds it.
        bias: `(out,)`, if there is one.
        stride: the steps of the kernel.
        padding: what is put before the first row and the first column; what follows the last is
            given by the size of the output.
        dilation: the distance of the kernel's taps.
        groups: as in PyTorch.
        scale: `(out,)`, what the weights of each output are multiplied by, if anything.
        packed: what a backend made of the weights, kept for the next call.
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
        """The same with scaled weights, for backends that do not scale them themselves."""
        if self.scale is None:
            return self
        weight = self.weight * self.scale[:, None, None, None]
        return replace(self, weight=weight, scale=None, packed={})

    @property
    def extent(self) -> tuple[int, int]:
        return int(self.weight.shape[2]), int(self.weight.shape[3])


@dataclass(frozen=True)
class Epilogue:
    """What happens to each output of a convolution before it is written.

    `min(max(output + residual, lower), upper)`; NaN stays NaN.

    Attributes:
        residual: an activation of the output's height, width and channels, looked up in its own
            boxes or its clean images.
        lower: 0 for a rectifier.
        upper: 6 for a ReLU6.
    """

    residual: Patches | None = None
    lower: float = -inf
    upper: float = inf


@dataclass(frozen=True)
class Pooling:
    """A 2-d pooling window and what it does with its places.

    Attributes:
        maximum: the maximum, of which padding is never part; otherwise the mean.
        extent: height and width of the window.
        stride: its steps.
        padding: as for :class:`Convolution`.
        dilation: the distance of its places.
        counts_padding: for a mean: divide by the places in the padded picture, not in the picture.
        divisor: for a mean: divide by this.
    """

    maximum: bool
    extent: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    counts_padding: bool = True
    divisor: int | None = None

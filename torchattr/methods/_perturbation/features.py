"""The features of inputs: the elements replaced together, and the attribution of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchattr.kernels import Boxes

Ints = NDArray[np.int64]


class FeatureMasks(ABC):
    """The elements replaced in each of several copies of the inputs.

    Masks are made for a range of copies at a time, never for all of them.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of masks."""

    @property
    def per_example(self) -> bool:
        """Whether examples have different masks."""
        return False

    @property
    def cumulative(self) -> bool:
        """Whether each copy is compared with the one before it, and the first with the inputs."""
        return False

    @abstractmethod
    def masks(self, start: int, stop: int) -> list[Tensor | None]:
        """Return masks `[start, stop)`.

        Returns:
            for each input a tensor that broadcasts to `(stop - start, N, ...)`, or `None` where
            none of them changes that input. It is boolean, or holds for each element the share
            that is replaced, 0 to 1.
        """

    def differing(self, start: int, stop: int) -> list[Tensor | None]:
        """Return the elements in which copies differ from what they are compared with.

        Like :meth:`masks`, which they are unless copies are cumulative.
        """
        return self.masks(start, stop)

    def boxes(self, start: int, stop: int, shapes: Sequence[torch.Size]) -> list[Boxes | None]:
        """Return the boxes of the images of each input in which copies `[start, stop)` differ.

        Args:
            start: the first mask.
            stop: the one after the last.
            shapes: the shape of each input.

        Returns:
            the boxes of each mask's images, mask after mask; `None` for an input that is not a
            batch of images `(N, C, H, W)`.
        """
        return [
            boxes_of(mask, shape, stop - start)
            for mask, shape in zip(self.differing(start, stop), shapes, strict=True)
        ]

    def boxes_at(self, numbers: Ints, shapes: Sequence[torch.Size]) -> list[Boxes | None]:
        """Return the boxes of some masks, as :meth:`boxes`.

        Args:
            numbers: those of the masks.
            shapes: the shape of each input.
        """
        several = [self.boxes(int(number), int(number) + 1, shapes) for number in numbers]
        return [_concatenated(boxes) for boxes in zip(*several, strict=True)]

    def fill_boxes(self, position: int) -> bool:
        """Whether each mask replaces every element of its boxes in an input.

        Args:
            position: the input.
        """
        return False


class MaskSubset(FeatureMasks):
    """The masks of some of the images.

    Args:
        masks: the masks of all images.
        images: the subset.
    """

    def __init__(self, masks: FeatureMasks, images: slice) -> None:
        self._masks = masks
        self._images = images

    def __len__(self) -> int:
        return len(self._masks)

    @property
    def per_example(self) -> bool:
        return self._masks.per_example

    @property
    def cumulative(self) -> bool:
        return self._masks.cumulative

    def masks(self, start: int, stop: int) -> list[Tensor | None]:
        return self._own(self._masks.masks(start, stop))

    def differing(self, start: int, stop: int) -> list[Tensor | None]:
        return self._own(self._masks.differing(start, stop))

    def boxes(self, start: int, stop: int, shapes: Sequence[torch.Size]) -> list[Boxes | None]:
        if self._masks.per_example:
            return super().boxes(start, stop, shapes)
        return self._masks.boxes(start, stop, shapes)

    def boxes_at(self, numbers: Ints, shapes: Sequence[torch.Size]) -> list[Boxes | None]:
        if self._masks.per_example:
            return super().boxes_at(numbers, shapes)
        return self._masks.boxes_at(numbers, shapes)

    def fill_boxes(self, position: int) -> bool:
        return self._masks.fill_boxes(position)

    def _own(self, masks: list[Tensor | None]) -> list[Tensor | None]:
        return [
            mask[:, self._images] if mask is not None and mask.shape[1] > 1 else mask
            for mask in masks
        ]


class Features(FeatureMasks):
    """Parts of the inputs, each with its own mask, and their effects on the score."""

    def effects(self, clean: Tensor, replaced: Tensor) -> Tensor:
        """Return the effect of each feature: the decrease of the score without it.

        Args:
            clean: the scores of the unperturbed inputs, `(rows, targets)`.
            replaced: the scores with each feature replaced, `(features, rows, targets)`.
        """
        return clean - replaced

    @abstractmethod
    def to_elements(self, effects: Tensor) -> list[Tensor]:
        """Distribute the effects of the features to their elements.

        Args:
            effects: `(features, rows, targets)`.

        Returns:
            for each input a tensor `(rows, targets, ...)`.
        """


class Windows(Features):
    """Windows that slide over each input, one input after another; they may overlap.

    The effect of an element is the mean of the windows that cover it. The last window of a row is
    clipped where the input ends.

    Args:
        tensors: the inputs.
        sizes: the window of each, without the batch dimension.
        strides: its stride in each dimension.
    """

    def __init__(
        self,
        tensors: Sequence[Tensor],
        sizes: Sequence[tuple[int, ...]],
        strides: Sequence[tuple[int, ...]],
    ) -> None:
        self._tensors = tensors
        self._positions = [
            [Steps(*one) for one in zip(tensor.shape[1:], size, stride, strict=True)]
            for tensor, size, stride in zip(tensors, sizes, strides, strict=True)
        ]
        self._sides = [_sides(positions) for positions in self._positions]

    def __len__(self) -> int:
        return sum(map(len, self._sides))

    def masks(self, start: int, stop: int) -> list[Tensor | None]:
        of_inputs: list[Tensor | None] = []
        first = 0
        for tensor, sides in zip(self._tensors, self._sides, strict=True):
            low, high = max(start - first, 0), min(stop - first, len(sides))
            before = first + low - start
            of_inputs.append(
                _masks(tensor, sides[low:high], before, stop - start) if low < high else None
            )
            first += len(sides)
        return of_inputs

    def boxes(self, start: int, stop: int, shapes: Sequence[torch.Size]) -> list[Boxes | None]:
        return self.boxes_at(np.arange(start, stop), shapes)

    def boxes_at(self, numbers: Ints, shapes: Sequence[torch.Size]) -> list[Boxes | None]:
        of_inputs: list[Boxes | None] = []
        first = 0
        for shape, sides in zip(shapes, self._sides, strict=True):
            own = numbers - first
            of_inputs.append(_at(sides, own, shape[0]) if len(shape) == 4 else None)
            first += len(sides)
        return of_inputs

    def fill_boxes(self, position: int) -> bool:
        return self._positions[position][0].count == 1

    def to_elements(self, effects: Tensor) -> list[Tensor]:
        sizes = [len(sides) for sides in self._sides]
        return [
            _mean_over(own.to(tensor.device), tensor, positions)
            for own, tensor, positions in zip(
                effects.split(sizes), self._tensors, self._positions, strict=True
            )
        ]


@dataclass(frozen=True)
class Steps:
    """The positions of a window in one dimension, until all of it is covered.

    Attributes:
        extent: size of the dimension.
        width: size of the window.
        step: its stride.

    >>> Steps(5, 3, 2).slices
    [slice(0, 3, None), slice(2, 5, None)]
    """

    extent: int
    width: int
    step: int

    @property
    def count(self) -> int:
        return ceil((self.extent - self.width) / self.step) + 1

    @property
    def slices(self) -> list[slice]:
        starts = [number * self.step for number in range(self.count)]
        return [slice(start, min(start + self.width, self.extent)) for start in starts]

    def turns(self, device: torch.device) -> list[tuple[Tensor, Tensor]]:
        """Return for each turn the window at each element, and whether it covers the element.

        The first turn has the first windows that cover an element, the next those after them.
        """
        at = torch.arange(self.extent, device=device)
        last = at.div(self.step, rounding_mode="floor").clamp(max=self.count - 1)
        turns = []
        for back in reversed(range(min(ceil(self.width / self.step), self.count))):
            number = last - back
            covers = (number >= 0) & (at < number * self.step + self.width)
            turns.append((number.clamp(min=0), covers))
        return turns


def _sides(positions: Sequence[Steps]) -> Ints:
    """Return where windows begin and end in each dimension, `(windows, 2, dimensions)`."""
    counts = [one.count for one in positions]
    numbers = np.indices(counts).reshape(len(counts), prod(counts)).T
    low = numbers * [one.step for one in positions]
    high = low + [one.width for one in positions]
    return np.stack([low, np.minimum(high, [one.extent for one in positions])], axis=1)


def _masks(tensor: Tensor, sides: Ints, before: int, count: int) -> Tensor:
    """Return the masks of `count` copies; those after `before` replace windows with these sides."""
    replaced = slice(before, before + len(sides))
    padded = np.zeros((count, *sides.shape[1:]), dtype=np.int64)
    padded[replaced] = sides
    low, high = torch.from_numpy(padded).to(tensor.device, non_blocking=True).unbind(1)
    single = [1] * tensor.dim()
    mask = torch.zeros(count, *single, dtype=torch.bool, device=tensor.device)
    mask[replaced] = True
    for dim, size in enumerate(tensor.shape[1:]):
        at = torch.arange(size, device=tensor.device)
        own = (at >= low[:, dim, None]) & (at < high[:, dim, None])
        if (sides[:, 0, dim] == 0).all() and (sides[:, 1, dim] == size).all():
            own = own[:, :1]  # Every window spans this dimension.
        mask = mask & own.reshape(count, *single[: dim + 1], -1, *single[dim + 2 :])
    return mask


def _mean_over(effects: Tensor, tensor: Tensor, positions: Sequence[Steps]) -> Tensor:
    """Return for each element the mean of the windows that cover it.

    Windows that follow each other closely enough to overlap are added in turns, so that a turn
    adds at most one to each element; a product with zeros would spread non-finite values.
    """
    device, shape = tensor.device, tensor.shape[1:]
    total = effects.new_zeros(*effects.shape[1:], *shape)
    counts = [one.count for one in positions]
    effects = effects.movedim(0, -1).reshape(*effects.shape[1:], *counts)
    count = torch.zeros(shape, dtype=torch.long, device=device)
    for turn in product(*(one.turns(device) for one in positions)):
        taken, covered = effects, torch.ones((), dtype=torch.bool, device=device)
        for dim, (window, covers) in enumerate(turn):
            taken = taken.index_select(dim - len(shape), window)
            covered = covered[..., None] & covers
        total += torch.where(covered, taken, 0)
        count += covered
    return total / count


def _at(sides: Ints, numbers: Ints, batch: int) -> Boxes:
    """Return the boxes of windows `(C, H, W)`, empty ones for numbers that none of them has."""
    table = np.zeros((len(numbers), 4), dtype=np.int64)
    own = (numbers >= 0) & (numbers < len(sides))
    table[own] = sides[numbers[own], :, 1:].reshape(-1, 4)
    return as_boxes(table[:, None], batch)


def _concatenated(several: Sequence[Boxes | None]) -> Boxes | None:
    known = [boxes for boxes in several if boxes is not None]
    if not known:
        return None
    table = np.concatenate([boxes.table for boxes in known])
    return Boxes.of(*table.T[:-1])


def as_boxes(sides: Ints, batch: int) -> Boxes:
    """Return the boxes of all images.

    Args:
        sides: top, left, bottom and right, `(masks, N or 1, 4)`.
        batch: number of images.
    """
    each = np.broadcast_to(sides, (len(sides), batch, 4)).reshape(-1, 4)
    return Boxes.of(np.tile(np.arange(batch), len(sides)), *each.T)


def boxes_of(mask: Tensor | None, shape: torch.Size, copies: int) -> Boxes | None:
    """Return the bounding box of each mask in each image of a batch `(N, C, H, W)`.

    >>> mask = torch.zeros(1, 1, 1, 5, 5)
    >>> mask[0, 0, 0, 2, 1:3] = 1
    >>> boxes_of(mask, torch.Size([1, 3, 5, 5]), 1).table.tolist()
    [[0, 2, 1, 3, 3, 0]]
    """
    if len(shape) != 4:
        return None
    if mask is None:
        return as_boxes(np.zeros((copies, 1, 4), dtype=np.int64), shape[0])
    touched = (mask != 0).any(2).expand(copies, -1, shape[2], shape[3])
    (top, bottom), (left, right) = [_span(touched.any(dim)) for dim in (3, 2)]
    return as_boxes(torch.stack([top, left, bottom, right], -1).cpu().numpy(), shape[0])


def _span(touched: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first masked index of the last dimension, and the one after the last."""
    marks = touched.to(torch.uint8)
    last = marks.shape[-1] - marks.flip(-1).argmax(-1)
    return marks.argmax(-1), torch.where(touched.any(-1), last, 0)

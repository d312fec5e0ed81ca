"""The features of inputs: the elements replaced together, and the attribution of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import product
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchattr.kernels import Boxes

Window = tuple[slice, ...]


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

    @abstractmethod
    def masks(self, start: int, stop: int) -> list[Tensor | None]:
        """Return masks `[start, stop)`.

        Returns:
            for each input a tensor that broadcasts to `(stop - start, N, ...)`, or `None` where
            none of them changes that input. It is boolean, or holds for each element the share
            that is replaced, 0 to 1.
        """

    def boxes(self, start: int, stop: int, shapes: Sequence[torch.Size]) -> list[Boxes | None]:
        """Return the boxes that masks `[start, stop)` change in the images of each input.

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
            for mask, shape in zip(self.masks(start, stop), shapes, strict=True)
        ]


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

    def masks(self, start: int, stop: int) -> list[Tensor | None]:
        masks = self._masks.masks(start, stop)
        return [
            mask[:, self._images] if mask is not None and mask.shape[1] > 1 else mask
            for mask in masks
        ]

    def boxes(self, start: int, stop: int, shapes: Sequence[torch.Size]) -> list[Boxes | None]:
        if self._masks.per_example:
            return super().boxes(start, stop, shapes)
        return self._masks.boxes(start, stop, shapes)


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
        self._windows = [
            windows(tensor.shape[1:], size, stride)
            for tensor, size, stride in zip(tensors, sizes, strides, strict=True)
        ]

    def __len__(self) -> int:
        return sum(map(len, self._windows))

    def masks(self, start: int, stop: int) -> list[Tensor | None]:
        of_inputs: list[Tensor | None] = []
        first = 0
        for tensor, boxes in zip(self._tensors, self._windows, strict=True):
            low, high = max(start - first, 0), min(stop - first, len(boxes))
            here = range(first + low - start, first + high - start)
            of_inputs.append(_boxes(tensor, boxes[low:high], stop - start, here) if here else None)
            first += len(boxes)
        return of_inputs

    def boxes(self, start: int, stop: int, shapes: Sequence[torch.Size]) -> list[Boxes | None]:
        of_inputs: list[Boxes | None] = []
        first = 0
        for shape, boxes in zip(shapes, self._windows, strict=True):
            low, high = max(start - first, 0), min(stop - first, len(boxes))
            here = slice(first + low - start, first + high - start)
            own = boxes[low:high] if low < high else []
            here = here if own else slice(0)
            of_inputs.append(_at(own, here, stop - start, shape[0]) if len(shape) == 4 else None)
            first += len(boxes)
        return of_inputs

    def to_elements(self, effects: Tensor) -> list[Tensor]:
        sizes = [len(boxes) for boxes in self._windows]
        return [
            _mean_over(own.to(tensor.device), tensor, boxes)
            for own, tensor, boxes in zip(
                effects.split(sizes), self._tensors, self._windows, strict=True
            )
        ]


def windows(shape: Sequence[int], size: Sequence[int], stride: Sequence[int]) -> list[Window]:
    """Return the positions of a window that slides over a shape until all of it is covered.

    >>> windows((5,), (3,), (2,))
    [(slice(0, 3, None),), (slice(2, 5, None),)]
    """
    rows = [
        [slice(i * step, min(i * step + width, extent)) for i in range(_steps(extent, width, step))]
        for extent, width, step in zip(shape, size, stride, strict=True)
    ]
    return list(product(*rows))


def _steps(extent: int, width: int, step: int) -> int:
    return ceil((extent - width) / step) + 1


def _boxes(tensor: Tensor, boxes: Sequence[Window], count: int, rows: range) -> Tensor:
    shape = (count, 1, *tensor.shape[1:])
    mask = torch.zeros(shape, dtype=torch.bool, device=tensor.device)
    for row, box in zip(rows, boxes, strict=True):
        mask[row, 0][box] = True
    return mask


def _mean_over(effects: Tensor, tensor: Tensor, boxes: Sequence[Window]) -> Tensor:
    """Sum window by window: a product with zeros would spread non-finite values."""
    shape = tensor.shape[1:]
    total = effects.new_zeros(*effects.shape[1:], *shape)
    count = torch.zeros(shape, dtype=torch.long, device=tensor.device)
    for effect, box in zip(effects, boxes, strict=True):
        whole = (slice(None), slice(None))
        total[whole + box] += effect.reshape(*effect.shape, *(1 for _ in shape))
        count[box] += 1
    return total / count


def _at(windows: Sequence[Window], here: slice, count: int, batch: int) -> Boxes:
    """Return the boxes of `count` masks, of which those `here` replace windows `(C, H, W)`."""
    sides = np.zeros((count, 4), dtype=np.int64)
    taken = [(y.start, x.start, y.stop, x.stop) for _, y, x in windows]
    sides[here] = np.array(taken, dtype=np.int64).reshape(-1, 4)
    return as_boxes(sides[:, None], batch)


def as_boxes(sides: NDArray[np.int64], batch: int) -> Boxes:
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

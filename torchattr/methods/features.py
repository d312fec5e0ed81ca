"""The features of inputs: which elements are replaced together, and what they are given then."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import product
from math import ceil
from typing import Any

import torch
from torch import Tensor

from torchattr.errors import InputTypeError, ShapeError
from torchattr.inputs import Inputs

Window = tuple[slice, ...]


class Masks(ABC):
    """What is replaced in each of several copies of the inputs.

    Masks are made for a range of copies at a time, never for all of them.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Give the number of masks."""

    @property
    def per_example(self) -> bool:
        """Whether examples have different masks."""
        return False

    @abstractmethod
    def masks(self, start: int, stop: int) -> list[Tensor | None]:
        """Say what masks `[start, stop)` replace.

        Returns:
            for each input a tensor that broadcasts to `(stop - start, N, ...)`, or `None` where
            none of them touches that input. It is boolean, or holds for each element the share
            that is replaced, 0 to 1.
        """


class Features(Masks):
    """Parts of the inputs, each replaced by a mask of its own, that are worth something."""

    def worth(self, clean: Tensor, replaced: Tensor) -> Tensor:
        """Say what each feature is worth: what the score loses without it.

        Args:
            clean: the scores of the inputs as they are, `(rows, targets)`.
            replaced: the scores with each feature replaced, `(features, rows, targets)`.
        """
        return clean - replaced

    @abstractmethod
    def spread(self, effects: Tensor) -> list[Tensor]:
        """Give each element what its features are worth.

        Args:
            effects: `(features, rows, targets)`.

        Returns:
            for each input a tensor `(rows, targets, ...)`.
        """


class Segments(Features):
    """Disjoint features: the elements that carry the same number, in whichever input.

    Each element is worth what its feature is worth.

    Args:
        shapes: the shape of each input.
        masks: for each input integers that broadcast to it.
    """

    def __init__(self, shapes: Sequence[torch.Size], masks: Sequence[Tensor]) -> None:
        self._shapes = shapes
        flat = torch.cat([mask.reshape(-1).long().cpu() for mask in masks])
        numbers, positions = flat.unique(return_inverse=True)
        self._count = len(numbers)
        parts = positions.split([mask.numel() for mask in masks])
        self._indices = [
            _with_batch(part.reshape(mask.shape).to(mask.device), shape)
            for part, mask, shape in zip(parts, masks, shapes, strict=True)
        ]
        self._ranges = [_extent(index) for index in self._indices]

    def __len__(self) -> int:
        return self._count

    @property
    def per_example(self) -> bool:
        return any(len(index) > 1 for index in self._indices)

    def masks(self, start: int, stop: int) -> list[Tensor | None]:
        return [
            _equal(index, start, stop) if low < stop and start <= high else None
            for index, (low, high) in zip(self._indices, self._ranges, strict=True)
        ]

    def spread(self, effects: Tensor) -> list[Tensor]:
        return [
            _looked_up(effects.to(index.device), index.expand(len(index), *shape[1:]))
            for index, shape in zip(self._indices, self._shapes, strict=True)
        ]


def as_segments(inputs: Inputs, feature_mask: Any) -> Segments:
    """Give the features that a user's masks number; without masks every element is one.

    Raises:
        ShapeError: a wrong count of masks, or one that does not broadcast to its input.
        InputTypeError: a mask that does not hold integers.
    """
    if feature_mask is None:
        return single_elements(inputs.tensors)
    masks = feature_mask if isinstance(feature_mask, (tuple, list)) else (feature_mask,)
    if len(masks) != len(inputs.tensors):
        raise ShapeError(
            f"feature_mask has {len(masks)} entries for {len(inputs.tensors)} inputs; pass one"
            " mask for each input"
        )
    checked = [
        _checked(mask, tensor, f"feature_mask[{position}]" if inputs.is_tuple else "feature_mask")
        for position, (mask, tensor) in enumerate(zip(masks, inputs.tensors, strict=True))
    ]
    return Segments([tensor.shape for tensor in inputs.tensors], checked)


def single_elements(tensors: Sequence[Tensor]) -> Segments:
    """Make every element a feature of its own."""
    masks, count = [], 0
    for tensor in tensors:
        size = tensor.shape[1:].numel()
        numbers = torch.arange(count, count + size, device=tensor.device)
        masks.append(numbers.reshape(1, *tensor.shape[1:]))
        count += size
    return Segments([tensor.shape for tensor in tensors], masks)


class Windows(Features):
    """Boxes that slide over each input, one input after another; they may overlap.

    Each element is worth the mean of the windows that cover it. The last window of a row is cut
    where the input ends.

    Args:
        tensors: the inputs.
        sizes: the window of each, without the batch dimension.
        strides: how far it moves in each dimension.
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
        found: list[Tensor | None] = []
        first = 0
        for tensor, boxes in zip(self._tensors, self._windows, strict=True):
            low, high = max(start - first, 0), min(stop - first, len(boxes))
            here = range(first + low - start, first + high - start)
            found.append(_boxes(tensor, boxes[low:high], stop - start, here) if here else None)
            first += len(boxes)
        return found

    def spread(self, effects: Tensor) -> list[Tensor]:
        sizes = [len(boxes) for boxes in self._windows]
        return [
            _mean_over(part.to(tensor.device), tensor, boxes)
            for part, tensor, boxes in zip(
                effects.split(sizes), self._tensors, self._windows, strict=True
            )
        ]


def windows(shape: Sequence[int], size: Sequence[int], stride: Sequence[int]) -> list[Window]:
    """List the places of a box that moves over a shape until all of it is covered.

    >>> windows((5,), (3,), (2,))
    [(slice(0, 3, None),), (slice(2, 5, None),)]
    """
    rows = [
        [slice(i * step, min(i * step + width, extent)) for i in range(_steps(extent, width, step))]
        for extent, width, step in zip(shape, size, stride, strict=True)
    ]
    return list(product(*rows))


def _checked(mask: Any, tensor: Tensor, name: str) -> Tensor:
    if not isinstance(mask, Tensor):
        raise InputTypeError(f"{name} must be a tensor of integers, got {type(mask).__name__}")
    if mask.is_floating_point() or mask.is_complex():
        raise InputTypeError(
            f"{name} must hold integers, got {mask.dtype}; convert it with {name}.long()"
        )
    fits = mask.dim() <= tensor.dim() and all(
        size in (1, wanted)
        for size, wanted in zip(reversed(mask.shape), reversed(tensor.shape), strict=False)
    )
    if not fits:
        raise ShapeError(
            f"{name} has shape {tuple(mask.shape)}, which does not broadcast to the input's"
            f" {tuple(tensor.shape)}; pass one mask for all examples (1, ...) or one for each"
        )
    return mask.detach().to(tensor.device, torch.long)


def _steps(extent: int, width: int, step: int) -> int:
    return ceil((extent - width) / step) + 1


def _with_batch(index: Tensor, shape: torch.Size) -> Tensor:
    return index.reshape((1,) * (len(shape) - index.dim()) + index.shape)


def _extent(index: Tensor) -> tuple[int, int]:
    return (int(index.min()), int(index.max())) if index.numel() else (0, -1)


def _equal(index: Tensor, start: int, stop: int) -> Tensor:
    numbers = torch.arange(start, stop, device=index.device)
    return index == numbers.reshape(-1, *(1 for _ in index.shape))


def _looked_up(effects: Tensor, index: Tensor) -> Tensor:
    """Give `(rows, targets, ...)` from `(features, rows, targets)`."""
    if len(index) == 1:
        return effects[index[0]].movedim((-2, -1), (0, 1))
    rows = torch.arange(len(index), device=index.device)
    return effects[index, rows.reshape(-1, *(1 for _ in index.shape[1:]))].movedim(-1, 1)


def _boxes(tensor: Tensor, boxes: Sequence[Window], count: int, rows: range) -> Tensor:
    shape = (count, 1, *tensor.shape[1:])
    mask = torch.zeros(shape, dtype=torch.bool, device=tensor.device)
    for row, box in zip(rows, boxes, strict=True):
        mask[row, 0][box] = True
    return mask


def _mean_over(effects: Tensor, tensor: Tensor, boxes: Sequence[Window]) -> Tensor:
    """Sum window by window: a product with zeros would spread what is not finite."""
    shape = tensor.shape[1:]
    total = effects.new_zeros(*effects.shape[1:], *shape)
    count = torch.zeros(shape, dtype=torch.long, device=tensor.device)
    for effect, box in zip(effects, boxes, strict=True):
        whole = (slice(None), slice(None))
        total[whole + box] += effect.reshape(*effect.shape, *(1 for _ in shape))
        count[box] += 1
    return total / count

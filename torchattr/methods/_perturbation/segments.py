"""Disjoint features: the elements with the same number in a feature mask."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchattr.core.inputs import Inputs, made_into_tensors
from torchattr.errors import InputTypeError, ShapeError
from torchattr.kernels import Boxes
from torchattr.methods._perturbation.features import Features, as_boxes

S = TypeVar("S", bound="Segments")


class Segments(Features):
    """Disjoint features: the elements with the same number, across all inputs.

    Each element gets the effect of its feature.

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

    @property
    def members(self) -> Tensor:
        """Whether each example has elements of each feature, `(N or 1, features)`, on the CPU."""
        rows = max(map(len, self._indices))
        found = torch.zeros(rows, self._count, dtype=torch.bool)
        for index in self._indices:
            numbers = index.reshape(len(index), -1).cpu().expand(rows, -1)
            found.scatter_(1, numbers, True)
        return found

    def of_elements(self, table: Tensor) -> list[Tensor]:
        """Return the entry of each element's feature.

        Args:
            table: `(copies, N or 1, features)`.

        Returns:
            for each input a tensor that broadcasts to `(copies, N, ...)`.
        """
        return [_taken(table.to(index.device), index) for index in self._indices]

    def masks(self, start: int, stop: int) -> list[Tensor | None]:
        return [
            _equal(index, start, stop) if low < stop and start <= high else None
            for index, (low, high) in zip(self._indices, self._ranges, strict=True)
        ]

    def boxes(self, start: int, stop: int, shapes: Sequence[torch.Size]) -> list[Boxes | None]:
        return [
            None if sides is None else as_boxes(sides[start:stop], shape[0])
            for sides, shape in zip(self.sides, shapes, strict=True)
        ]

    @cached_property
    def sides(self) -> list[NDArray[np.int64] | None]:
        """For each image input, top, left, bottom and right: `(features, N or 1, 4)`."""
        return [
            _sides(index, shape, self._count) if len(shape) == 4 else None
            for index, shape in zip(self._indices, self._shapes, strict=True)
        ]

    def to_elements(self, effects: Tensor) -> list[Tensor]:
        return [
            _looked_up(effects.to(index.device), index.expand(len(index), *shape[1:]))
            for index, shape in zip(self._indices, self._shapes, strict=True)
        ]

    def means(self, values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the mean of each feature's elements, and their number, both `(N, features)`.

        Args:
            values: for each input a tensor that broadcasts to it, `(N, ...)`.
        """
        total, count = self.sums(values)
        return total / count.clamp(min=1), count

    def sums(self, values: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the sum of each feature's elements, and their number, both `(N, features)`.

        Args:
            values: for each input a tensor that broadcasts to it, `(N, ...)`.
        """
        rows, device = len(values[0]), values[0].device
        kind = torch.promote_types(values[0].dtype, torch.float32)
        total = torch.zeros(rows, self._count, dtype=kind, device=device)
        count = torch.zeros_like(total)
        for index, shape, value in zip(self._indices, self._shapes, values, strict=True):
            numbers = index.expand(rows, *shape[1:]).flatten(1).to(device)
            elements = value.expand(rows, *shape[1:]).flatten(1).to(total)
            total.scatter_add_(1, numbers, elements)
            count.scatter_add_(1, numbers, torch.ones_like(elements))
        return total, count


def as_segments(inputs: Inputs, feature_mask: Any) -> Segments:
    """Return the features of a user's masks; without masks every element is a feature.

    Raises:
        ShapeError: a wrong number of masks, or one that does not broadcast to its input.
        InputTypeError: a mask that does not hold integers.
    """
    return segments_as(Segments, inputs, feature_mask)


def segments_as(kind: type[S], inputs: Inputs, feature_mask: Any) -> S:
    """Return the features of a user's masks, as a kind of segments; see :func:`as_segments`."""
    if feature_mask is None:
        return kind([tensor.shape for tensor in inputs.tensors], _numbered(inputs.tensors))
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
    return kind([tensor.shape for tensor in inputs.tensors], checked)


def _numbered(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return masks of features of one element each."""
    masks, count = [], 0
    for tensor in tensors:
        size = tensor.shape[1:].numel()
        numbers = torch.arange(count, count + size, device=tensor.device)
        masks.append(numbers.reshape(1, *tensor.shape[1:]))
        count += size
    return masks


def _checked(mask: Any, tensor: Tensor, name: str) -> Tensor:
    if not isinstance(mask, Tensor):
        raise InputTypeError(
            f"{name} must be a tensor of integers, got {type(mask).__name__}"
            f"{made_into_tensors(type(mask))}"
        )
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


def _with_batch(index: Tensor, shape: torch.Size) -> Tensor:
    return index.reshape((1,) * (len(shape) - index.dim()) + index.shape)


def _extent(index: Tensor) -> tuple[int, int]:
    return (int(index.min()), int(index.max())) if index.numel() else (0, -1)


def _equal(index: Tensor, start: int, stop: int) -> Tensor:
    numbers = torch.arange(start, stop, device=index.device)
    return index == numbers.reshape(-1, *(1 for _ in index.shape))


def _taken(table: Tensor, index: Tensor) -> Tensor:
    rows = max(table.shape[1], len(index))
    numbers = index.reshape(len(index), -1).expand(rows, -1)
    if table.shape[1] == 1 == len(index):
        taken = table[:, :, numbers[0]]
    else:
        copies = len(table)
        each = numbers.expand(copies, *numbers.shape)
        taken = table.expand(-1, rows, -1).gather(2, each)
    return taken.reshape(len(table), rows, *index.shape[1:])


def _looked_up(effects: Tensor, index: Tensor) -> Tensor:
    """Return `(rows, targets, ...)` from `(features, rows, targets)`."""
    if len(index) == 1:
        return effects[index[0]].movedim((-2, -1), (0, 1))
    rows = torch.arange(len(index), device=index.device)
    return effects[index, rows.reshape(-1, *(1 for _ in index.shape[1:]))].movedim(-1, 1)


def _sides(index: Tensor, shape: torch.Size, count: int) -> NDArray[np.int64]:
    """Find the bounds of each feature in an image, for each example with its own mask."""
    height, width = shape[2:]
    examples = torch.arange(len(index)).reshape(-1, 1, 1, 1)
    positions = (index.cpu() + count * examples).expand(-1, -1, height, width).reshape(-1)
    y = torch.arange(height).reshape(-1, 1).expand(len(index), index.shape[1], -1, width)
    x = torch.arange(width).expand(len(index), index.shape[1], height, -1)
    sides = torch.zeros(4, count * len(index), dtype=torch.long)
    extremes = (("amin", y), ("amin", x), ("amax", y), ("amax", x))
    for row, (reduce, coordinate) in enumerate(extremes):
        sides[row].scatter_reduce_(0, positions, coordinate.reshape(-1), reduce, include_self=False)
    sides[2:] += 1
    sides[:, torch.bincount(positions, minlength=count * len(index)) == 0] = 0
    return sides.T.reshape(len(index), count, 4).transpose(0, 1).numpy()

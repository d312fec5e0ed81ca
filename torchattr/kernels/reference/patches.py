"""Operations on patches in plain PyTorch: each output row from the rows that its window covers.

All rows form one table: the clean pixels, the changed ones, and last a row of padding. A window is
then a list of indices into the table, in whichever box it lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf, prod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from torchattr.kernels.api import PatchOperations
from torchattr.kernels.patches import (
    BOTTOM,
    IMAGE,
    LEFT,
    RIGHT,
    START,
    TOP,
    Boxes,
    Convolution,
    Epilogue,
    Ints,
    Patches,
    Pooling,
)

SCRATCH = 2**26
"""Bytes of looked-up rows held at a time."""

POINTWISE = ((1, 1), (1, 1), (0, 0), (1, 1))
"""Extent, stride, padding and dilation of a window of one pixel."""


class TorchPatches(PatchOperations):
    """Serves every device and dtype; the other backends are tested against it."""

    name: ClassVar[str] = "torch"

    def gather(self, x: Patches, boxes: Boxes) -> Tensor:
        if boxes == x.boxes:
            return x.changed
        return torch.cat([rows[:, 0] for rows in _windows(x, boxes, *POINTWISE)])

    def convolve(self, x: Patches, boxes: Boxes, conv: Convolution, epilogue: Epilogue) -> Tensor:
        conv = conv.scaled
        window = (conv.extent, conv.stride, conv.padding, conv.dilation)
        output = torch.cat([_weighted(rows, conv) for rows in _windows(x, boxes, *window)])
        if conv.bias is not None:
            output += conv.bias
        if epilogue.residual is not None:
            output += self.gather(epilogue.residual, boxes)
        return output.clamp_(epilogue.lower, epilogue.upper)

    def pool(self, x: Patches, boxes: Boxes, pooling: Pooling) -> Tensor:
        window = (pooling.extent, pooling.stride, pooling.padding, pooling.dilation)
        if pooling.maximum:
            padded = _windows(x, boxes, *window, outside=-inf)
            return torch.cat([rows.amax(dim=1) for rows in padded])
        sums = torch.cat([rows.sum(dim=1) for rows in _windows(x, boxes, *window)])
        divisors = mean_divisors(boxes, pooling, x.clean.shape[1:3])
        return sums.div_(torch.from_numpy(divisors).to(sums)[:, None])


def mean_divisors(boxes: Boxes, pooling: Pooling, size: Sequence[int]) -> Ints:
    """Return the divisor of each row's sum; a window can extend beyond the padding that counts."""
    if pooling.divisor is not None:
        return np.full(boxes.rows, pooling.divisor)
    counts = []
    for dim, outputs in enumerate(_positions(boxes)):
        first = outputs * pooling.stride[dim] - pooling.padding[dim]
        border = pooling.padding[dim] if pooling.counts_padding else 0
        last = np.minimum(first + pooling.extent[dim], size[dim] + border)
        counts.append(last - np.maximum(first, -border))
    return counts[0] * counts[1]


def _weighted(rows: Tensor, conv: Convolution) -> Tensor:
    """Multiply rows of `(taps, in)` by each group's weights."""
    outputs, inputs = conv.weight.shape[:2]
    count, taps = rows.shape[:2]
    if inputs == 1 and outputs == conv.groups:
        return (rows * conv.weight.reshape(outputs, taps).T).sum(dim=1)
    weight = conv.weight.reshape(conv.groups, -1, inputs, taps).permute(0, 3, 2, 1)
    weight = weight.reshape(conv.groups, taps * inputs, -1)
    grouped = rows.view(count, taps, conv.groups, inputs).permute(2, 0, 1, 3)
    product = grouped.reshape(conv.groups, count, taps * inputs) @ weight
    return product.transpose(0, 1).reshape(count, outputs)


def _windows(
    x: Patches,
    boxes: Boxes,
    extent: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    outside: float = 0,
) -> Iterator[Tensor]:
    """Yield the rows that each window covers as `(rows, taps, channels)`, in chunks."""
    channels = x.clean.shape[3]
    table = torch.cat(
        [x.clean.view(-1, channels), x.changed, x.changed.new_full((1, channels), outside)]
    )
    taps = [
        position[:, None] * step - before + gap * np.arange(count)
        for position, count, step, before, gap in zip(
            _positions(boxes), extent, stride, padding, dilation, strict=True
        )
    ]
    variants = np.repeat(np.arange(len(boxes)), boxes.areas)
    most = max(1, SCRATCH // max(1, prod(extent) * channels * table.element_size()))
    for first in range(0, max(1, boxes.rows), most):
        chunk = slice(first, first + most)
        indices = torch.from_numpy(_indices(x, variants[chunk], taps[0][chunk], taps[1][chunk]))
        rows = table.index_select(0, indices.view(-1).to(table.device))
        yield rows.view(len(indices), prod(extent), channels)


def _positions(boxes: Boxes) -> tuple[Ints, Ints]:
    """Return the vertical and horizontal position of each row of `boxes` in its image."""
    table = np.repeat(boxes.table, boxes.areas, axis=0)
    within = np.arange(boxes.rows) - table[:, START]
    down, right = np.divmod(within, table[:, RIGHT] - table[:, LEFT])
    return table[:, TOP] + down, table[:, LEFT] + right


def _indices(x: Patches, variants: Ints, down: Ints, right: Ints) -> Ints:
    """Return the rows of the table for the taps `down × right` of each variant."""
    height, width = x.clean.shape[1:3]
    box = x.boxes.table[variants].T[:, :, None]
    down_inside = (down >= box[TOP]) & (down < box[BOTTOM])
    right_inside = (right >= box[LEFT]) & (right < box[RIGHT])
    clean_down = (box[IMAGE] * height + down) * width
    pixels = x.clean.shape[0] * height * width
    changed_down = pixels + box[START] + (down - box[TOP]) * (box[RIGHT] - box[LEFT])
    indices = np.where(
        down_inside[:, :, None] & right_inside[:, None],
        changed_down[:, :, None] + (right - box[LEFT])[:, None],
        clean_down[:, :, None] + right[:, None],
    )
    is_inside = ((down >= 0) & (down < height))[:, :, None] & (right >= 0)[:, None]
    is_inside &= (right < width)[:, None]
    return np.where(is_inside, indices, pixels + len(x.changed))

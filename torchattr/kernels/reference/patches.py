"""Operations on patches in plain PyTorch: for each output row, the rows that its window looks at.

All rows stand in one table: the clean pixels, the changed ones, and last a row of padding. What a
window sees is then a list of indices, whatever box it lies in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf, prod

import numpy as np
import torch
from torch import Tensor

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
"""Bytes of looked-up rows that are held at a time."""

SEEN_ALONE = ((1, 1), (1, 1), (0, 0), (1, 1))
"""Extent, stride, padding and dilation of a window that sees the pixel itself only."""


def gather(x: Patches, boxes: Boxes) -> Tensor:
    if boxes == x.boxes:
        return x.changed
    return torch.cat([seen[:, 0] for seen in _seen(x, boxes, *SEEN_ALONE)])


def convolve(x: Patches, boxes: Boxes, conv: Convolution, after: Epilogue) -> Tensor:
    conv = conv.scaled
    window = (conv.extent, conv.stride, conv.padding, conv.dilation)
    results = [_weighed(seen, conv) for seen in _seen(x, boxes, *window)]
    output = torch.cat(results)
    if conv.bias is not None:
        output += conv.bias
    if after.residual is not None:
        output += gather(after.residual, boxes)
    return output.clamp_(after.lower, after.upper)


def pool(x: Patches, boxes: Boxes, pooling: Pooling) -> Tensor:
    window = (pooling.extent, pooling.stride, pooling.padding, pooling.dilation)
    if pooling.maximum:
        return torch.cat([seen.amax(dim=1) for seen in _seen(x, boxes, *window, outside=-inf)])
    sums = torch.cat([seen.sum(dim=1) for seen in _seen(x, boxes, *window)])
    divisors = mean_divisors(boxes, pooling, x.clean.shape[1:3])
    return sums.div_(torch.from_numpy(divisors).to(sums)[:, None])


def mean_divisors(boxes: Boxes, pooling: Pooling, size: Sequence[int]) -> Ints:
    """Give what each row's sum is divided by; a window may go past the padding, which counts."""
    if pooling.divisor is not None:
        return np.full(boxes.rows, pooling.divisor)
    counts = []
    for dim, outputs in enumerate(_places(boxes)):
        first = outputs * pooling.stride[dim] - pooling.padding[dim]
        border = pooling.padding[dim] if pooling.counts_padding else 0
        last = np.minimum(first + pooling.extent[dim], size[dim] + border)
        counts.append(last - np.maximum(first, -border))
    return counts[0] * counts[1]


def _weighed(seen: Tensor, conv: Convolution) -> Tensor:
    """Multiply rows of `(taps, in)` by the weights of each group."""
    outputs, inputs = conv.weight.shape[:2]
    rows, taps = seen.shape[:2]
    if inputs == 1 and outputs == conv.groups:
        return (seen * conv.weight.reshape(outputs, taps).T).sum(dim=1)
    weight = conv.weight.reshape(conv.groups, -1, inputs, taps).permute(0, 3, 2, 1)
    weight = weight.reshape(conv.groups, taps * inputs, -1)
    grouped = seen.view(rows, taps, conv.groups, inputs).permute(2, 0, 1, 3)
    product = grouped.reshape(conv.groups, rows, taps * inputs) @ weight
    return product.transpose(0, 1).reshape(rows, outputs)


def _seen(
    x: Patches,
    boxes: Boxes,
    extent: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    outside: float = 0,
) -> Iterator[Tensor]:
    """Give the rows that each window sees as `(rows, taps, channels)`, piece by piece."""
    channels = x.clean.shape[3]
    table = torch.cat(
        [x.clean.view(-1, channels), x.changed, x.changed.new_full((1, channels), outside)]
    )
    taps = [
        place[:, None] * step - before + gap * np.arange(count)
        for place, count, step, before, gap in zip(
            _places(boxes), extent, stride, padding, dilation, strict=True
        )
    ]
    variants = np.repeat(np.arange(len(boxes)), boxes.areas)
    most = max(1, SCRATCH // max(1, prod(extent) * channels * table.element_size()))
    for first in range(0, max(1, boxes.rows), most):
        piece = slice(first, first + most)
        indices = torch.from_numpy(_indices(x, variants[piece], taps[0][piece], taps[1][piece]))
        seen = table.index_select(0, indices.view(-1).to(table.device))
        yield seen.view(len(indices), prod(extent), channels)


def _places(boxes: Boxes) -> tuple[Ints, Ints]:
    """Give the place of each row of `boxes` in the picture."""
    table = np.repeat(boxes.table, boxes.areas, axis=0)
    within = np.arange(boxes.rows) - table[:, START]
    down, right = np.divmod(within, table[:, RIGHT] - table[:, LEFT])
    return table[:, TOP] + down, table[:, LEFT] + right


def _indices(x: Patches, variants: Ints, down: Ints, right: Ints) -> Ints:
    """Give the rows of the table for the taps `down × right` of each variant."""
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
    is_seen = ((down >= 0) & (down < height))[:, :, None] & (right >= 0)[:, None]
    is_seen &= (right < width)[:, None]
    return np.where(is_seen, indices, pixels + len(x.changed))

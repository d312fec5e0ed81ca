"""Boxes of a picture as the network's input shows them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchattr.models import Box


def seen_box(box: Box, shown: Box, size: Sequence[int]) -> Box:
    """Return a box of a picture in pixels of the input that shows a part of the picture.

    It may reach beyond the input.

    Args:
        box: in pixels of the picture.
        shown: the part of the picture that the input shows, in its pixels.
        size: height and width of the input.

    >>> seen_box(Box(10, 10, 30, 20), shown=Box(10, 0, 50, 40), size=(20, 20))
    Box(x0=0.0, y0=5.0, x1=10.0, y1=10.0)
    """
    height, width = size
    moved = Box(*(edge - shown[k % 2] for k, edge in enumerate(box)))
    return moved.scaled(width / (shown.x1 - shown.x0), height / (shown.y1 - shown.y0))


def mask_of_boxes(boxes: Sequence[Box], size: Sequence[int]) -> Tensor:
    """Return the pixels whose centres lie in any of the boxes, bools `(h, w)`.

    Args:
        boxes: in pixels of the input.
        size: height and width of the input.

    >>> mask_of_boxes([Box(0.0, 0.4, 1.6, 2.0)], (2, 3)).int()
    tensor([[1, 1, 0],
            [1, 1, 0]], dtype=torch.int32)
    """
    rows, columns = (torch.arange(extent) + 0.5 for extent in size)
    mask = torch.zeros(*size, dtype=torch.bool)
    for left, top, right, bottom in boxes:
        down, along = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
        mask |= down[:, None] & along
    return mask


def share_seen(boxes: Sequence[Box], size: Sequence[int]) -> float:
    """Return the share of the area of boxes that lies in the input, 0 to 1.

    Where boxes overlap, the area counts for each.

    Args:
        boxes: in pixels of the input, each with an area.
        size: height and width of the input.

    >>> share_seen([Box(-2.0, 0.0, 2.0, 2.0)], (4, 4))
    0.5
    """
    height, width = size
    inside = (
        Box(max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)) for x0, y0, x1, y1 in boxes
    )
    return sum(map(_area, inside)) / sum(map(_area, boxes))


def _area(box: Box) -> float:
    return max(box.x1 - box.x0, 0) * max(box.y1 - box.y0, 0)

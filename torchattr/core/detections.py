"""The one place that knows what detectors return: boxes with their scores and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from torchattr.errors import OutputError

COLUMNS = 6
"""Columns of a detection: x1, y1, x2, y2, score and label."""
NO_LABEL = -1
"""The label of rows that fill up images with fewer detections."""

_PARTS = ("boxes", "scores", "labels")


def detections(boxes: Tensor, scores: Tensor, labels: Tensor | None = None) -> Tensor:
    """Return the detections of a batch as one differentiable tensor `(N, D, 6)`.

    Its columns are x1, y1, x2, y2, score and label, as in the results of YOLO models. Use it in the
    `output=` of a model that returns neither this tensor nor torchvision's list of dicts, above
    all to read the raw scores of a head before non-maximum suppression.

    Args:
        boxes: `(N, D, 4)`, as corners x1, y1, x2, y2.
        scores: `(N, D)`, or `(N, D, K)`: each box gets its best class and the score of that.
        labels: `(N, D)`, for scores `(N, D)`.

    Raises:
        OutputError: shapes that do not fit, or labels missing or given twice.

    >>> import torch
    >>> detections(torch.tensor([[[0.0, 0, 4, 2]]]), torch.tensor([[[0.25, 0.75]]]))
    tensor([[[0.0000, 0.0000, 4.0000, 2.0000, 0.7500, 1.0000]]])
    """
    if scores.dim() == boxes.dim() and labels is None:
        scores, labels = scores.max(-1)
    if labels is None or boxes.shape != (*scores.shape, 4) or scores.shape != labels.shape:
        shapes = [None if one is None else tuple(one.shape) for one in (boxes, scores, labels)]
        raise OutputError(
            "detections needs boxes (N, D, 4) with scores (N, D) and labels (N, D), or with scores"
            f" (N, D, K) and no labels, got boxes {shapes[0]}, scores {shapes[1]} and labels"
            f" {shapes[2]}"
        )
    parts = (boxes.to(scores.dtype), scores[..., None], labels[..., None].to(scores.dtype))
    return torch.cat(parts, -1)


def as_detections(output: Any) -> Sequence[Mapping[str, Tensor]] | None:
    """Return an output that is what torchvision's detectors return: a list with a dict per image.

    `None` if it is something else.
    """
    is_list = isinstance(output, (list, tuple)) and len(output) > 0
    parts = set(_PARTS)
    if is_list and all(isinstance(one, Mapping) and parts <= set(one) for one in output):
        found: Sequence[Mapping[str, Tensor]] = output
        return found
    return None


def stacked(images: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Return the detections of several images as one tensor `(N, D, 6)`.

    Images with fewer detections than the others are filled up with empty boxes that have a score
    of zero and the label :data:`NO_LABEL`.
    """
    rows = [detections(*(one[part] for part in _PARTS)) for one in images]
    filled = pad_sequence(rows, batch_first=True)
    counts = torch.tensor([len(one) for one in rows], device=filled.device)
    is_filling = torch.arange(filled.shape[1], device=filled.device) >= counts[:, None]
    empty = filled.new_zeros(COLUMNS)
    empty[-1] = NO_LABEL
    return torch.where(is_filling[..., None], empty, filled)


def holds_detections(output: Tensor) -> bool:
    """Whether a tensor of scores has the shape of detections, `(N, D, 6)`."""
    return output.dim() == 3 and output.shape[-1] == COLUMNS


def overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the intersection over union of each box with each other one, `(N, K, D)`.

    Args:
        boxes: `(N, K, 4)`, as corners.
        others: `(N, D, 4)`.

    >>> import torch
    >>> overlaps(torch.tensor([[[0.0, 0, 2, 2]]]), torch.tensor([[[1.0, 0, 3, 2], [5, 5, 6, 6]]]))
    tensor([[[0.3333, 0.0000]]])
    """
    first, second = boxes[:, :, None], others[:, None]
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:4], second[..., 2:4])
    shared = (high - low).clamp(min=0).prod(-1)
    union = _area(first) + _area(second) - shared
    # Only two empty boxes have an empty union.
    return shared / torch.where(union > 0, union, torch.ones_like(union))


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])

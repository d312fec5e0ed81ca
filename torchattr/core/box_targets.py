"""The target of detectors: the detections of some boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from torchattr.core.arguments import plain_numbers
from torchattr.core.detections import NO_LABEL, holds_detections, overlaps
from torchattr.core.output_target import Entries, OutputTarget, as_classes
from torchattr.errors import InputError, InputTypeError, TargetError

_UNUSED = NO_LABEL - 1
"""The label of rows that fill up examples with fewer wanted boxes; no detection has it."""


@dataclass(frozen=True, eq=False, repr=False)
class BoxTarget(OutputTarget):
    """The detections of some boxes: the sum of score + IoU of the best match of each.

    The match of a box is the detection of the same label with the highest IoU (intersection over
    union) with it, if that is above `iou`. Selby et al. call it the box score; see also
    `FasterRCNNBoxScoreTarget` of pytorch-grad-cam, which looks for the highest IoU among all labels
    first. Scores and boxes are differentiable outputs of a detector; non-maximum suppression only
    chooses among them. In a perturbed copy, a box without a match counts as 0. It is *not* evidence
    for what the detector missed: a box must be found in the unchanged input.

    The model returns torchvision's list of dicts with `boxes`, `scores` and `labels`, or a tensor
    `(N, D, 6)` as of :func:`detections`.

    Args:
        labels: the label of each box; an int for a single one.
        boxes: `(K, 4)` or `(4,)`, as corners x1, y1, x2, y2 in pixels of the input, for all
            examples. A list of N such tensors (with a list of N labels), or a tensor `(N, K, 4)`,
            holds those of each example.
        iou: the IoU that a match must exceed.
        overlap: whether to add the IoU; otherwise only the score is explained.

    Raises:
        InputError: no boxes, corners in the wrong order, or an IoU outside of 0..1.
        TargetError: labels of another number than the boxes; (from a call) a box that is not
            detected, or an output without detections.

    >>> import torch, torchattr as ta
    >>> found = {"boxes": torch.tensor([[0.0, 0, 4, 4]]), "scores": torch.tensor([0.9])}
    >>> output = ta.detections(found["boxes"][None], found["scores"][None], torch.tensor([[7]]))
    >>> ta.Boxes(7, [0, 0, 4, 4])(output)
    tensor([1.9000])
    """

    title: ClassVar[str] = "Boxes"

    labels: Any
    boxes: Any
    iou: float = 0.5
    overlap: bool = True
    _wanted: tuple[tuple[Tensor, Tensor], ...] = field(init=False, repr=False)
    _shared: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(plain_numbers(self.iou), (int, float)):
            raise InputTypeError(f"iou must be a number, got {self.iou!r}")
        if not 0 <= self.iou < 1:
            raise InputError(f"iou must be at least 0 and less than 1, got {self.iou}")
        shared = not _is_by_example(self.boxes)
        pairs = [(self.labels, self.boxes)] if shared else _by_example(self.labels, self.boxes)
        object.__setattr__(self, "_shared", shared)
        object.__setattr__(self, "_wanted", tuple(_checked(*pair) for pair in pairs))

    def entries(self, output: Tensor, count: int) -> Entries:
        if not holds_detections(output):
            raise TargetError(
                f"Boxes needs detections, but the output has shape {tuple(output.shape)}; needed is"
                " torchvision's list of dicts or a tensor (N, D, 6): pass output=..., a function"
                " that returns detections(boxes, scores)"
            )
        wanted = self._wanted * count if self._shared else self._wanted
        if len(wanted) != count:
            raise TargetError(
                f"boxes has {len(wanted)} entries for a batch of {count}; pass the boxes of each"
                " example, or the same for all of them"
            )
        if not wanted:
            return output.new_zeros(0, 1), output.new_zeros(0, 1, 4)
        labels = pad_sequence([one for one, _ in wanted], True, _UNUSED)
        boxes = pad_sequence([one for _, one in wanted], True)
        return labels.to(output.device), boxes.to(output.device)

    def decide(self, output: Tensor, *entries: Tensor) -> Entries:
        labels, boxes = entries
        _, shares = self._matches(output, labels, boxes)
        missed = ((shares <= self.iou) & (labels != _UNUSED)).nonzero().tolist()
        if missed:
            example, number = missed[0]
            raise TargetError(
                f"no detection matches box {_said(boxes[example, number])} of label"
                f" {int(labels[example, number])} in example {example}"
                f" ({self._best(output[example], labels[example, number], boxes[example, number])})"
                "; pass a detected box, a smaller iou, or lower the score threshold of the detector"
            )
        return entries

    def value(self, output: Tensor, *entries: Tensor) -> Tensor:
        if not output.shape[1]:
            return output.sum((1, 2))
        matches, shares = self._matches(output, *entries)
        values = output[..., 4].gather(1, matches)
        values = values + shares if self.overlap else values
        return torch.where(shares > self.iou, values, torch.zeros_like(values)).sum(1)

    def _matches(self, output: Tensor, labels: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best detection of each box, `(N, K)`, and its IoU; that is 0 without any."""
        if not output.shape[1]:
            return torch.zeros_like(labels), boxes.new_zeros(labels.shape)
        shares = overlaps(boxes.to(output.dtype), output[..., :4])
        alike = output[:, None, :, 5].round() == labels[..., None]
        best = torch.where(alike, shares, torch.zeros_like(shares)).max(-1)
        return best.indices, best.values

    def _best(self, found: Tensor, label: Tensor, box: Tensor) -> str:
        """Return what comes closest, for messages."""
        found = found[found[:, 5] != NO_LABEL]
        if not len(found):
            return "the detector found no box at all"
        shares = overlaps(box.to(found.dtype)[None, None], found[None, :, :4])[0, 0]
        alike = found[:, 5] == label
        if not bool(alike.any()):
            labels = sorted(set(found[:, 5].long().tolist()))
            return f"the labels of its {len(found)} boxes are {', '.join(map(str, labels[:8]))}"
        share = float(shares[alike].max())
        return f"the closest box of that label has an IoU of {share:.2f}, and iou is {self.iou}"


Boxes = BoxTarget
"""Its public name, which also a class of `kernels` has."""


def _is_by_example(boxes: Any) -> bool:
    """Whether boxes are given for each example."""
    if isinstance(boxes, (list, tuple)) and boxes and not isinstance(boxes[0], str):
        return np.ndim(boxes[0]) == 2
    return getattr(boxes, "ndim", 0) == 3


def _by_example(labels: Any, boxes: Sequence[Any]) -> list[tuple[Any, Any]]:
    if isinstance(labels, (Tensor, np.ndarray)) and not labels.ndim:
        labels = labels.item()
    same = not isinstance(labels, (Sequence, Tensor, np.ndarray)) or isinstance(labels, str)
    if not same and len(labels) != len(boxes):
        raise TargetError(
            f"labels is given for {len(labels)} examples, but boxes for {len(boxes)}; pass the"
            " labels of each example's boxes, or one int for all of them"
        )
    return [(labels if same else labels[number], one) for number, one in enumerate(boxes)]


def _checked(labels: Any, boxes: Any) -> tuple[Tensor, Tensor]:
    """Return labels `(K,)` and boxes `(K, 4)`."""
    try:
        corners = torch.as_tensor(boxes).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputTypeError(f"boxes must be numbers (K, 4), got {type(boxes).__name__}") from error
    corners = corners[None] if corners.dim() == 1 else corners
    if corners.dim() != 2 or corners.shape[1] != 4 or not len(corners):
        raise InputError(f"boxes must have shape (K, 4) or (4,), got {tuple(corners.shape)}")
    corners = corners if corners.is_floating_point() else corners.float()
    for box in corners:
        if not bool((box[:2] < box[2:]).all()):
            raise InputError(
                f"box {_said(box)} is empty: needed are its corners x1, y1, x2, y2 with x1 < x2 and"
                " y1 < y2, not its width and height"
            )
    classes = as_classes(labels, "labels").reshape(-1)
    if len(classes) != len(corners) and classes.numel() != 1:
        raise TargetError(
            f"labels has {len(classes)} entries for {len(corners)} boxes; pass one for each, or one"
            " int for all of them"
        )
    if bool((classes < 0).any()):
        raise TargetError(f"labels must not be negative, got {classes.tolist()}")
    return classes.expand(len(corners)), corners


def _said(box: Tensor) -> str:
    return f"({', '.join(f'{edge:g}' for edge in box.tolist())})"

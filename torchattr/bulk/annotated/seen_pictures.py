"""Annotated pictures as a model sees them, and why some of them cannot be measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchattr.bulk.annotated.annotation import Annotation
from torchattr.bulk.annotated.pictures import AnnotatedPictures
from torchattr.bulk.reading import PicturesToRead, ReadPicture
from torchattr.core.types import Activation
from torchattr.errors import TargetError
from torchattr.evaluate import LabelledPictures, mask_of_boxes, seen_box, share_seen
from torchattr.models import Box, LoadedModel
from torchattr.runs import class_index, device_of


@dataclass(frozen=True, eq=False)
class SeenPicture:
    """A picture that can be measured.

    Attributes:
        inputs: the model's input `(C, h, w)`.
        target: the class.
        mask: the pixels of the input in its boxes, bools `(h, w)`.
        boxes: in pixels of the input.
        seen: the share of the boxes' area that the model sees.
    """

    inputs: Tensor
    target: int
    mask: Tensor
    boxes: Sequence[Box]
    seen: float


@dataclass(frozen=True)
class LeftOut:
    """Why a picture cannot be measured, as a sentence without its full stop."""

    reason: str


@dataclass(frozen=True)
class InputForm:
    """What the inputs and scores of a model are like, as the first picture shows.

    inputs: the shape `(C, h, w)` of each input.
    classes: the number of classes.
    activation: what turns scores into probabilities.
    """

    inputs: tuple[int, ...]
    classes: int
    activation: Activation


class SeenPictureReader:
    """Reads annotated pictures for a model.

    Args:
        loaded: the model.
        source: the pictures.
        form: what inputs and scores are like, where that is known.
    """

    def __init__(
        self, loaded: LoadedModel, source: AnnotatedPictures, form: InputForm | None = None
    ) -> None:
        self._loaded, self._source = loaded, source
        self._reading = PicturesToRead(source, loaded, None if form is None else form.inputs)
        self._classes = None if form is None else form.classes
        self._targets: dict[str, int | LeftOut] = {}

    def read(self, position: int) -> SeenPicture | LeftOut:
        """Return a picture as the model sees it, or why it cannot be measured."""
        annotation = self._source.annotations[position]
        target = self._target(annotation.label)
        if isinstance(target, LeftOut):
            return target
        _, read = self._reading[position]
        reason = _refusal(annotation, read)
        return LeftOut(reason) if reason else _example(annotation, read, target)

    def _target(self, label: str) -> int | LeftOut:
        """Return the class of a label; each is looked up once."""
        if label not in self._targets:
            self._targets[label] = self._looked_up(label)
        return self._targets[label]

    def _looked_up(self, label: str) -> int | LeftOut:
        try:
            index = class_index(self._loaded, label)
        except TargetError as error:
            return LeftOut(f"{self._loaded.name} does not know its class: {error}")
        if self._classes is not None and index >= self._classes:
            return LeftOut(
                f"{self._loaded.name} does not know its class: there is no class {index} among"
                f" {self._classes}"
            )
        return index


def labelled(
    loaded: LoadedModel, examples: Sequence[SeenPicture], activation: Activation
) -> LabelledPictures:
    """Return pictures that can be measured as one batch on the model's device."""
    device = device_of(loaded)
    return LabelledPictures(
        loaded.model,
        torch.stack([one.inputs for one in examples]).to(device),
        torch.tensor([one.target for one in examples], device=device),
        torch.stack([one.mask for one in examples]).to(device),
        [list(one.boxes) for one in examples],
        activation,
    )


def _refusal(annotation: Annotation, read: ReadPicture) -> str:
    """Return why a picture cannot be measured; empty if it can so far."""
    if read.reason is not None:
        return read.reason
    if annotation.size not in (None, read.size):
        given, found = (" × ".join(map(str, size or ())) for size in (annotation.size, read.size))
        return f"its boxes were drawn on a picture of {given} pixels, but the file has {found}"
    for box in annotation.boxes:
        if not (box.x0 < box.x1 and box.y0 < box.y1):
            return f"its box {_written(box)} has no area; it must have x0 < x1 and y0 < y1"
    return ""


def _example(annotation: Annotation, read: ReadPicture, target: int) -> SeenPicture | LeftOut:
    inputs: Any = read.inputs
    shown = Box(*(read.box or ()))
    size = inputs.shape[1:]
    boxes = [seen_box(box, shown, size) for box in annotation.boxes]
    mask = mask_of_boxes(boxes, size)
    listed = ", ".join(map(_written, annotation.boxes))
    if not mask.any():
        return LeftOut(
            f"the model sees none of the box {listed}: of the picture it sees {_written(shown)}"
        )
    if mask.all():
        return LeftOut(f"the box {listed} covers all that the model sees, so that no map can miss")
    return SeenPicture(inputs, target, mask, boxes, share_seen(boxes, size))


def _written(box: Box) -> str:
    return f"({', '.join(f'{round(edge, 1):g}' for edge in box)})"

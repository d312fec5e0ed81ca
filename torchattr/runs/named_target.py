"""Targets of a run with their names, and what they index: class scores, or the raw output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from torchattr.core.box_targets import BoxTarget
from torchattr.core.detections import holds_detections
from torchattr.core.output_target import OutputTarget
from torchattr.core.segmentation_targets import Segment
from torchattr.errors import TargetError
from torchattr.runs.score_reader import Answer, ScoreReader


@dataclass(frozen=True, eq=False)
class NamedTarget:
    """A target, the name that it is shown under, and the class that it is about.

    Attributes:
        name: the name of the class, or what is asked about it.
        index: the class.
        target: a function of the output; `None` for the score of the class.
    """

    name: str
    index: int
    target: OutputTarget | None = None


@dataclass(frozen=True, eq=False)
class Asked:
    """What the methods are called with.

    Attributes:
        targets: the targets.
        output: returns what they index from the model's output.
    """

    targets: list[Any]
    output: Callable[[Any], Tensor]


def asked_of(targets: Sequence[NamedTarget], answer: Answer, reader: ScoreReader) -> Asked:
    """Return what to call methods with: functions index the raw output, and classes beside them.

    Args:
        targets: the targets.
        answer: the model's answer to the picture.
        reader: reads its output.
    """
    if answer.raw is None or all(one.target is None for one in targets):
        return Asked([one.index for one in targets], reader.scores)
    return Asked([_as_function(one, answer.raw) for one in targets], reader.raw)


def _as_function(one: NamedTarget, raw: Tensor) -> Any:
    """Return a target of the raw output: of a class too, whose score is otherwise computed first.

    Args:
        one: the target.
        raw: the output.
    """
    if one.target is not None:
        return one.target
    if holds_detections(raw):
        return BoxTarget(one.index, best_box(raw, one.index), overlap=False)
    return Segment(one.index) if raw.dim() == 4 else one.index


def best_box(found: Tensor, category: int) -> list[float]:
    """Return the box of the detection of a class with the highest score.

    Raises:
        TargetError: there is none.
    """
    alike = found[0][found[0, :, 5] == category]
    if not len(alike):
        labels = sorted(set(found[0, :, 5].long().tolist()))
        raise TargetError(
            f"the detector found no box of class {category}; the classes of those that it found are"
            f" {', '.join(map(str, labels[:8]))}"
        )
    corners: list[float] = alike[int(alike[:, 4].argmax()), :4].tolist()
    return corners

"""Targets of the command that are functions of the output: `mask:FILE,CLASS`, `box:CLASS`, ..."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from torchattr.core.box_targets import BoxTarget
from torchattr.core.class_targets import Difference, Probability
from torchattr.core.detections import holds_detections
from torchattr.core.output_target import OutputTarget
from torchattr.core.segmentation_targets import Mask, Segment
from torchattr.errors import Hint, TargetError, WayOut
from torchattr.models import LoadedModel, PreparedImage, is_class_name
from torchattr.runs.class_selector import ClassSelector, Index, parse_targets
from torchattr.runs.named_target import NamedTarget, best_box
from torchattr.runs.regions import box_in_input, mask_of_file
from torchattr.runs.score_reader import Answer

_FUNCTION = re.compile(r"([a-z]+):(.+)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class FunctionSelector(ABC):
    """One requested target that is a function of the output.

    Attributes:
        category: the class that it is about.
    """

    category: int
    kind: ClassVar[str]
    form: ClassVar[str]
    """What the command takes."""

    @abstractmethod
    def target(self, picture: PreparedImage, answer: Answer) -> OutputTarget:
        """Return the target for a picture and the model's answer to it.

        Raises:
            TargetError: the model's output has nothing of that kind.
        """

    def named(self, picture: PreparedImage, answer: Answer, loaded: LoadedModel) -> NamedTarget:
        name = f"{self.kind}: {loaded.class_name(self.category)}"
        return NamedTarget(name, self.category, self.target(picture, answer))


@dataclass(frozen=True)
class _MaskOfFile(FunctionSelector):
    path: str
    kind: ClassVar[str] = "mask"
    form: ClassVar[str] = "mask:FILE,CLASS"

    def target(self, picture: PreparedImage, answer: Answer) -> OutputTarget:
        height, width = _segmentation(answer, self.form).shape[2:]
        return Mask(self.category, mask_of_file(Path(self.path), picture, (height, width)))


@dataclass(frozen=True)
class _PredictedSegment(FunctionSelector):
    kind: ClassVar[str] = "segment"
    form: ClassVar[str] = "segment:CLASS"

    def target(self, picture: PreparedImage, answer: Answer) -> OutputTarget:
        _segmentation(answer, self.form)
        return Segment(self.category)


@dataclass(frozen=True)
class _DetectedBox(FunctionSelector):
    box: tuple[float, ...] = ()
    kind: ClassVar[str] = "box"
    form: ClassVar[str] = "box:CLASS or box:CLASS,X1,Y1,X2,Y2 in pixels of the image"

    def target(self, picture: PreparedImage, answer: Answer) -> OutputTarget:
        found = _detections(answer, self.form)
        corners = box_in_input(self.box, picture) if self.box else best_box(found, self.category)
        return BoxTarget(self.category, corners)


@dataclass(frozen=True)
class _DifferenceOfClasses(FunctionSelector):
    others: tuple[int, ...]
    kind: ClassVar[str] = "difference"
    form: ClassVar[str] = "difference:CLASS,OTHER,... (or difference:CLASS for all others)"

    def target(self, picture: PreparedImage, answer: Answer) -> OutputTarget:
        return Difference(self.category, self.others or None)

    def named(self, picture: PreparedImage, answer: Answer, loaded: LoadedModel) -> NamedTarget:
        plain = super().named(picture, answer, loaded)
        others = ", ".join(map(loaded.class_name, self.others)) or "all others"
        name = f"{loaded.class_name(self.category)} rather than {others}"
        return NamedTarget(name, plain.index, plain.target)


@dataclass(frozen=True)
class _ProbabilityOfClass(FunctionSelector):
    kind: ClassVar[str] = "probability"
    form: ClassVar[str] = "probability:CLASS"

    def target(self, picture: PreparedImage, answer: Answer) -> OutputTarget:
        activation = answer.reading.applied
        if activation == "none" and answer.reading.bounded:
            raise TargetError(
                "target 'probability' is for scores, but this model returns probabilities; name the"
                " class alone"
            )
        if activation == "none":
            raise TargetError(
                "target 'probability' needs scores that an activation turns into probabilities",
                hint=Hint(ways_out=[WayOut("declare what they are with {setting}", "activation")]),
            )
        return Probability(self.category, activation)


def parse_selectors(
    texts: Sequence[str], names: Sequence[str] | None
) -> list[ClassSelector | FunctionSelector]:
    """Parse targets: those of :func:`parse_targets`, and functions such as `segment:cat`.

    Raises:
        TargetError: an unknown class or kind, with the closest ones, or a wrong form.

    >>> parse_selectors(["1", "difference:cat,dog"], ["dog", "cat"])
    [Index(index=1), _DifferenceOfClasses(category=1, others=(0,))]
    """
    return [_parse(text.strip(), names) for text in texts]


def is_function(text: str, names: Sequence[str] | None) -> bool:
    """Whether a target is a function of the output, not a class."""
    return bool(_FUNCTION.fullmatch(text.strip())) and not is_class_name(text.strip(), names)


def _parse(text: str, names: Sequence[str] | None) -> ClassSelector | FunctionSelector:
    if not is_function(text, names):
        return parse_targets([text], names)[0]
    kind, _, rest = text.partition(":")
    if kind.casefold() not in _READ:
        close = get_close_matches(kind.casefold(), _READ, n=1)
        question = f"; did you mean {close[0]}: ...?" if close else "."
        forms = "; ".join(cls.form for cls in _KINDS)
        raise TargetError(f"unknown kind of target {text!r}{question} Allowed are {forms}")
    return _READ[kind.casefold()](rest, names)


def _class(text: str, names: Sequence[str] | None, form: str) -> int:
    """Return the index of a class."""
    if not text.strip():
        raise TargetError(f"a class is missing in the target; needed is {form}")
    (one,) = parse_targets([text], names, "a name or an index")
    if not isinstance(one, Index):
        raise TargetError(f"target {text!r} is not a single class; needed is {form}")
    return one.classes_of(len(names))[0] if names else one.index


def _mask(rest: str, names: Sequence[str] | None) -> FunctionSelector:
    path, comma, category = rest.rpartition(",")
    if not comma or not path.strip():
        raise TargetError(f"target 'mask:{rest}' must be {_MaskOfFile.form}")
    return _MaskOfFile(_class(category, names, _MaskOfFile.form), path.strip())


def _box(rest: str, names: Sequence[str] | None) -> FunctionSelector:
    category, *numbers = rest.split(",")
    try:
        corners = list(map(float, numbers))
    except ValueError:
        corners = [0.0]
    if len(corners) not in (0, 4):
        raise TargetError(f"target 'box:{rest}' must be {_DetectedBox.form}")
    if corners and not (corners[0] < corners[2] and corners[1] < corners[3]):
        raise TargetError(
            f"target 'box:{rest}' is empty: needed are corners with X1 < X2 and Y1 < Y2"
        )
    return _DetectedBox(_class(category, names, _DetectedBox.form), tuple(corners))


def _difference(rest: str, names: Sequence[str] | None) -> FunctionSelector:
    category, *others = (_class(one, names, _DifferenceOfClasses.form) for one in rest.split(","))
    return _DifferenceOfClasses(category, tuple(others))


_READ: Mapping[str, Any] = {
    "mask": _mask,
    "box": _box,
    "segment": lambda rest, names: _PredictedSegment(_class(rest, names, "segment:CLASS")),
    "difference": _difference,
    "probability": lambda rest, names: _ProbabilityOfClass(
        _class(rest, names, "probability:CLASS")
    ),
}
_KINDS = (_MaskOfFile, _DetectedBox, _PredictedSegment, _DifferenceOfClasses, _ProbabilityOfClass)


def _segmentation(answer: Answer, form: str) -> Tensor:
    if answer.raw is None or answer.raw.dim() != 4:
        raise TargetError(f"target {form} is for segmentation models; this one has no positions")
    return answer.raw


def _detections(answer: Answer, form: str) -> Tensor:
    if answer.raw is None or not holds_detections(answer.raw):
        raise TargetError(
            f"target {form.partition(' ')[0]} is for detectors; this one has no boxes"
        )
    return answer.raw

"""Entries of explanations: the arrays, the panel and the record of one example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchattr.core.versions import versions
from torchattr.models import Box
from torchattr.results.explained import Explained
from torchattr.results.sink import Entry
from torchattr.show import (
    COLOR,
    LIGHT,
    Drawing,
    Look,
    Style,
    View,
    as_picture,
    draw_panel,
    image_normalization,
    recolored,
    style_of,
    title_of,
)

ClassNames = Sequence[str] | Mapping[int, str]


@dataclass(frozen=True, eq=False)
class Subject:
    """How one example of an explanation is shown.

    name: the stem of its files.
    image: the picture as it was read; `None` draws the input itself.
    box: the part of `image`, in its pixels, that the input shows; `None` for all of it.
    probabilities: `(T,)` of its targets, in 0..1, if the model has any; `None` where one has not.
    names: of its targets, where they are not classes.
    activation: what made its probabilities, `softmax` or `sigmoid`; `None` where that is unknown.
    view, cmap, look: see `torchattr.show.draw_panel`.
    title, subtitle: text above the panel.
    heading: of the picture.
    details: further fields of its manifest record.
    """

    name: str
    image: Any = None
    box: Box | None = None
    probabilities: Sequence[float | None] | None = None
    title: str | None = None
    subtitle: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    names: Sequence[str] | None = None
    activation: str | None = None
    view: View = "crop"
    cmap: str | None = None
    look: Look = LIGHT
    heading: str = "Input"


@dataclass(frozen=True, eq=False)
class ShownExample:
    """One example of an explanation with its picture.

    subject: how it is shown; its image is the input if it had none, `None` if that is no picture.
    targets: the record of each target: its name, score, and what else is known.
    maps: the raw maps by name, `(T, ...)`.
    """

    subject: Subject
    targets: list[dict[str, Any]]
    maps: dict[str, np.ndarray]

    @classmethod
    def of(
        cls,
        explanation: Explained,
        index: int,
        subject: Subject,
        class_names: ClassNames | None = None,
    ) -> ShownExample:
        """Take the example at `index`; `class_names` are by default the model's own."""
        if subject.image is None:
            image, heading = _input_picture(explanation, index)
            subject = replace(subject, image=image, heading=heading)
        maps = {
            key: array_of(value[index])
            for name, values in explanation.attributions.items()
            for key, value in flat(name, values)
        }
        return cls(subject, _targets(explanation, index, subject, class_names), maps)

    @property
    def drawable(self) -> dict[str, np.ndarray]:
        """The maps `(T, C, h, w)` that can be drawn, by name; none without a picture or targets."""
        count = len(self.targets)
        if self.subject.image is None or not count:
            return {}
        return {k: v for k, v in self.maps.items() if v.ndim == 4 and len(v) == count and v.size}

    @property
    def undrawn(self) -> list[str]:
        """The names of the maps that the panel leaves out."""
        drawn = self.drawable
        return [key for key in self.maps if key not in drawn]

    @property
    def scores(self) -> list[float | str]:
        """The probability of each target, else its score as a text."""
        return [one.get("probability", f"score {one['score']:.3g}") for one in self.targets]

    def style(self, key: str) -> Style:
        """Return the style that maps are drawn in; colours only where they have such channels."""
        values = self.maps[key]
        style = style_of(key.partition("/")[0], values)
        drawn = (
            style if style != COLOR or values.shape[1] in (1, 3) else style_of(key, values, "heat")
        )
        return recolored(drawn, self.subject.cmap)

    def panel(self, cell: int = 256) -> Drawing | None:
        """Return the panel; `None` if nothing can be drawn."""
        columns, subject = self.drawable, self.subject
        if not columns:
            return None
        return draw_panel(
            subject.image,
            {heading_of(key): values for key, values in columns.items()},
            [target["name"] for target in self.targets],
            self.scores,
            title=subject.title,
            subtitle=subject.subtitle,
            box=subject.box,
            styles={heading_of(key): self.style(key) for key in columns},
            cell=cell,
            view=subject.view,
            activation=subject.activation,
            look=subject.look,
            given=subject.heading,
        )


def entry_of(
    explanation: Explained,
    index: int,
    subject: Subject,
    class_names: ClassNames | None = None,
    cell: int = 256,
) -> Entry:
    """Return the entry of the example at `index`; `class_names` are by default the model's own."""
    example = ShownExample.of(explanation, index, subject, class_names)
    return Entry(
        subject.name,
        example.panel(cell),
        {**example.maps, **_numbers(explanation, index)},
        _record(explanation, example),
    )


def flat(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a result by name: `grad_cam`, or `grad_cam/layer4` if several.

    >>> [key for key, _ in flat("grad_cam", {"layer3": torch.ones(1), "layer4": torch.ones(1)})]
    ['grad_cam/layer3', 'grad_cam/layer4']
    """
    if isinstance(value, Tensor):
        yield name, value
        return
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield from flat(f"{name}/{key}", item)


def array_of(value: Tensor) -> np.ndarray:
    """Return a tensor as an array; bfloat16, which NumPy lacks, becomes float32."""
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def _numbers(explanation: Explained, index: int) -> dict[str, np.ndarray]:
    numbers = {"scores": array_of(explanation.scores[index])}
    if explanation.targets is not None:
        numbers["targets"] = array_of(explanation.targets[index])
    return numbers


def _targets(
    explanation: Explained, index: int, subject: Subject, class_names: ClassNames | None
) -> list[dict[str, Any]]:
    names = explanation.class_names if class_names is None else class_names
    found = []
    for position, score in enumerate(explanation.scores[index].tolist()):
        target: dict[str, Any] = {"name": f"target {position + 1}", "score": score}
        if explanation.targets is not None:
            number = int(explanation.targets[index, position])
            target = {"index": number, "name": _class_name(number, names), "score": score}
        if subject.names is not None:
            target["name"] = subject.names[position]
        probability = subject.probabilities[position] if subject.probabilities is not None else None
        if probability is not None:
            target["probability"] = float(probability)
        found.append(target)
    return found


def _class_name(index: int, names: ClassNames | None) -> str:
    known = names if isinstance(names, Mapping) else dict(enumerate(names or ()))
    return known.get(index, f"class {index}")


def _input_picture(explanation: Explained, index: int) -> tuple[Any, str]:
    """Return the first input as a picture, if it has the shape of one, and its heading."""
    tensor = explanation.inputs.tensors[0]
    if tensor.dim() != 4 or tensor.shape[1] not in (1, 3) or 0 in tensor.shape:
        return None, "Input"
    display = None if explanation.appearance is None else explanation.appearance.display
    if display is not None and display.is_known:
        return display.picture(tensor[index]), "Input"
    stretched = image_normalization(tensor[index], ubound=1)
    return as_picture(torch.from_numpy(stretched)), "Input, brightness stretched"


def heading_of(key: str) -> str:
    """Return the heading of a method's maps.

    >>> heading_of("grad_cam/layer4")
    'Grad-CAM layer4'
    """
    method, _, part = key.partition("/")
    return f"{title_of(method)} {part}".strip()


def _record(explanation: Explained, example: ShownExample) -> dict[str, Any]:
    subject = example.subject
    coverage = explanation.coverage
    return {
        **subject.details,
        "targets": example.targets,
        "box": None if subject.box is None else list(subject.box),
        "picture": None if subject.image is None else _size(subject.image),
        "shapes": {
            "inputs": [list(tensor.shape[1:]) for tensor in explanation.inputs.tensors],
            **{key: list(values.shape) for key, values in example.maps.items()},
        },
        "undrawn": example.undrawn,
        "coverage": {
            "calls": dict(sorted(coverage.calls.items())),
            "own_gradient": dict(sorted(coverage.own.items())),
            "hidden": dict(sorted(coverage.hidden.items())),
            "custom": dict(sorted(coverage.custom.items())),
            "methods": dict(explanation.notes),
        },
        "refused": {**subject.details.get("refused", {}), **explanation.refused},
        "versions": versions(),
    }


def _size(image: Any) -> dict[str, int]:
    height, width = as_picture(image).shape[:2]
    return {"width": width, "height": height}

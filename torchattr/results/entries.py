"""Entries of explanations: the arrays, the panel and the record of one example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from torchattr.core.versions import versions
from torchattr.models import Box
from torchattr.results.explained import Explained
from torchattr.results.rows import with_rows
from torchattr.results.sink import Entry
from torchattr.show import (
    COLOR,
    Style,
    View,
    as_picture,
    image_normalization,
    notebook,
    panel,
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
    view, cmap: see `torchattr.show.panel`.
    title, subtitle: text above the panel.
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


def entry_of(
    explanation: Explained,
    index: int,
    subject: Subject,
    class_names: ClassNames | None = None,
    cell: int = 256,
) -> Entry:
    """Return the entry of the example at `index`; `class_names` are by default the model's own."""
    maps = {
        key: array_of(value[index])
        for name, values in explanation.attributions.items()
        for key, value in flat(name, values)
    }
    names = explanation.class_names if class_names is None else class_names
    targets = _targets(explanation, index, subject, names)
    image = subject.image if subject.image is not None else _input_picture(explanation, index)
    drawn = None
    if image is not None and targets:
        drawn = _panel(image, maps, targets, subject, cell)
    return Entry(
        subject.name,
        drawn,
        {**maps, **_numbers(explanation, index)},
        _record(explanation, index, subject, targets, maps, image),
    )


def shown(explanation: Explained) -> str:
    """Show an explanation in a notebook: its text and the panel of each example."""

    def draw() -> Iterator[tuple[str, Image.Image]]:
        whole = with_rows(explanation)
        for index in range(explanation.inputs.batch_size):
            drawn = entry_of(whole, index, Subject(f"example {index}")).picture
            if drawn is not None:
                yield f"example {index}", drawn

    return notebook(explanation, draw)


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
    explanation: Explained, index: int, subject: Subject, names: ClassNames | None
) -> list[dict[str, Any]]:
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


def _input_picture(explanation: Explained, index: int) -> np.ndarray | None:
    """Return the first input stretched over 0..1, if it has the shape of a picture."""
    tensor = explanation.inputs.tensors[0]
    if tensor.dim() != 4 or tensor.shape[1] not in (1, 3) or 0 in tensor.shape:
        return None
    stretched = image_normalization(tensor[index], ubound=1)
    return as_picture(torch.from_numpy(stretched))


def _panel(
    image: Any,
    maps: Mapping[str, np.ndarray],
    targets: Sequence[Mapping[str, Any]],
    subject: Subject,
    cell: int,
) -> Image.Image | None:
    columns = {key: values for key, values in maps.items() if _is_drawable(values, len(targets))}
    if not columns:
        return None
    return panel(
        image,
        {_heading(key): values for key, values in columns.items()},
        [target["name"] for target in targets],
        [target.get("probability", f"score {target['score']:.3g}") for target in targets],
        title=subject.title,
        subtitle=subject.subtitle,
        box=subject.box,
        styles={
            _heading(key): _style(key, values, subject.cmap) for key, values in columns.items()
        },
        cell=cell,
        view=subject.view,
        activation=subject.activation,
    )


def _is_drawable(values: np.ndarray, targets: int) -> bool:
    return values.ndim == 4 and len(values) == targets and values.size > 0


def _heading(key: str) -> str:
    method, _, part = key.partition("/")
    return f"{title_of(method)} {part}".strip()


def _style(key: str, values: np.ndarray, cmap: str | None) -> Style:
    style = style_of(key.partition("/")[0], values)
    colours = values.shape[1] in (1, 3)
    drawn = style_of(key, values, "heat") if style == COLOR and not colours else style
    return recolored(drawn, cmap)


def _record(
    explanation: Explained,
    index: int,
    subject: Subject,
    targets: Sequence[Mapping[str, Any]],
    maps: Mapping[str, np.ndarray],
    image: Any,
) -> dict[str, Any]:
    coverage = explanation.coverage
    return {
        **subject.details,
        "targets": list(targets),
        "box": None if subject.box is None else list(subject.box),
        "picture": None if image is None else _size(image),
        "shapes": {
            "inputs": [list(tensor.shape[1:]) for tensor in explanation.inputs.tensors],
            **{key: list(values.shape) for key, values in maps.items()},
        },
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

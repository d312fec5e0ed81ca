"""The explanation panel: the map of each method for each class, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.models import Box, place
from torchattr.show.arrays import as_floats, as_picture
from torchattr.show.picture_table import Legend, PictureTable, Row
from torchattr.show.styles import Style, faded, style_of, title_of


def panel(
    image: Any,
    maps: Mapping[str, Any],
    labels: Sequence[str],
    scores: Sequence[float | str] | None = None,
    *,
    title: str | None = None,
    subtitle: str | None = None,
    box: Sequence[float] | None = None,
    styles: Mapping[str, str | Style] | None = None,
    cell: int = 256,
) -> Image.Image:
    """Draw the explanation panel: a row per class, a column per method.

    Each row starts with the class, its score and the picture. Each map is scaled by its own
    largest value, so colours are *not* comparable between maps; ``rescale(shared=True)`` and
    ``grid`` make pictures that are.

    image: the picture as it was read; see ``as_picture``.
    maps: for each method its raw maps ``(T, C, h, w)`` or ``(T, h, w)``, one per class. The key is
        the method's name (``"grad_cam"``, ``"GradCAM"``); other names are used as titles. A colour
        gradient of Deconvolution or GuidedBackprop is drawn around mid grey, a saliency map as
        heat, a class activation map over the picture.
    labels: the T classes.
    scores: for each class a probability in 0..1, which is also drawn as a bar, or a text.
    title, subtitle: text above the panel.
    box: left, top, right and bottom of the part of ``image``, in its pixels, that the model saw
        and that the maps cover (``PreparedImage.box``); None for all of it. The rest is faded.
    styles: for a method the ``Style`` or its name, one of ``STYLES``, instead of its default.
    cell: length of each picture's longer side in pixels, at least 64.

    Returns an RGB picture.
    Raises ``ShapeError`` if counts or shapes do not match, ``InputError`` for values
    that cannot be drawn.

    >>> panel(np.zeros((8, 8)), {"grad_cam": np.ones((1, 4, 4))}, ["cat"], [0.9]).mode
    'RGB'
    """
    _check_counts(maps, labels, scores, styles or {}, cell)
    scene = _Scene.of(image, box, cell)
    columns = [
        _Column.of(name, values, len(labels), (styles or {}).get(name))
        for name, values in maps.items()
    ]
    rows = [
        Row(
            label=label,
            score=None if scores is None else scores[index],
            cells=[scene.input, *(column.draw(index, scene) for column in columns)],
        )
        for index, label in enumerate(labels)
    ]
    headings = ["Input", *(column.title for column in columns)]
    note = _note(columns, scene)
    return PictureTable(headings, rows, _legends(columns), note, title, subtitle).draw()


@dataclass(frozen=True)
class _Scene:
    """The picture at the size of a cell, and the part of it that the model saw."""

    picture: np.ndarray
    box: Box
    input: np.ndarray
    cropped: bool

    @classmethod
    def of(cls, image: Any, box: Sequence[float] | None, cell: int) -> _Scene:
        original = Image.fromarray(as_picture(image))
        whole = Box(0, 0, *original.size)
        seen = whole if box is None else _checked(box)
        factor = cell / max(original.size)
        width, height = (max(1, round(side * factor)) for side in original.size)
        picture = np.asarray(original.resize((width, height), Image.Resampling.LANCZOS))
        scaled = seen.scaled(width / original.width, height / original.height)
        unseen = np.isnan(place(np.zeros((1, 1)), scaled, picture.shape[:2]))
        return cls(picture, scaled, faded(picture, unseen), bool(unseen.any()))


def _checked(box: Sequence[float]) -> Box:
    if len(box) != 4 or not (box[0] < box[2] and box[1] < box[3]):
        raise ShapeError(f"box must be (left, top, right, bottom), got {tuple(box)}")
    return Box(*box)


@dataclass(frozen=True)
class _Column:
    title: str
    style: Style
    values: np.ndarray

    @classmethod
    def of(cls, name: str, values: Any, classes: int, style: str | Style | None) -> _Column:
        array = as_floats(values, f"maps[{name!r}]")
        if np.isnan(array).any():
            raise InputError(f"maps[{name!r}] holds NaN, which cannot be drawn")
        array = array[:, None] if array.ndim == 3 else array
        if array.ndim != 4 or len(array) != classes or 0 in array.shape:
            raise ShapeError(
                f"maps[{name!r}] must have the shape (T, C, h, w) or (T, h, w) with T = {classes} "
                f"for {classes} labels, got {np.shape(values)}"
            )
        return cls(title_of(name), style_of(name, array, style), array)

    def draw(self, index: int, scene: _Scene) -> np.ndarray:
        reduced = self.style.reduce(self.values[index])
        placed = place(reduced, scene.box, scene.picture.shape[:2])
        return self.style.paint(scene.picture, placed)


def _note(columns: list[_Column], scene: _Scene) -> str:
    clipped = 100 - min(column.style.percentile for column in columns)
    scale = f"; up to {clipped:g} % of its pixels are clipped" if clipped else ""
    unseen = " The model did not see the faded parts." if scene.cropped else ""
    return f"Each map is scaled independently{scale}.{unseen}"


def _legends(columns: list[_Column]) -> list[Legend]:
    """Return one legend for each style in use, naming its columns."""
    titles: dict[Style, list[str]] = {}
    for column in columns:
        titles.setdefault(column.style, []).append(column.title)
    return [
        Legend(style.cmap, f"{', '.join(names)}: {style.meaning}")
        for style, names in titles.items()
    ]


def _check_counts(
    maps: Mapping[str, Any],
    labels: Sequence[str],
    scores: Sequence[float | str] | None,
    styles: Mapping[str, str | Style],
    cell: int,
) -> None:
    if isinstance(labels, str):
        raise InputTypeError(f"labels must be a sequence of texts, got the text {labels!r}")
    if not labels or not maps:
        raise ShapeError("panel needs at least one label and the maps of one method")
    if scores is not None and len(scores) != len(labels):
        raise ShapeError(f"scores has {len(scores)} entries for {len(labels)} labels")
    for score in scores or ():
        if not isinstance(score, str) and not 0 <= score <= 1:
            raise InputError(f"scores must be probabilities in 0..1, or texts, got {score}")
    if unknown := [name for name in styles if name not in maps]:
        raise InputError(f"styles names {unknown[0]!r}, which is not among maps: {', '.join(maps)}")
    if cell < 64:
        raise InputError(f"cell must be at least 64 pixels, got {cell}")

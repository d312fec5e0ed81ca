"""The parts of a panel: maps, pictures, tables, bar charts, figures and texts."""

from __future__ import annotations

import io
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.show import Style, as_floats, as_picture, style_of
from torchattr.web.map_style import MapStyle
from torchattr.web.panels.scene import Scene
from torchattr.web.state.stored import StoredFigure, StoredImage, StoredItem, StoredMap

Keep: TypeAlias = Callable[[StoredItem], str]
"""Stores an item for download and returns its id."""


class Part(ABC):
    """One part of a panel, shown below its title."""

    title: str

    @abstractmethod
    def describe(self, scene: Scene, keep: Keep) -> dict[str, Any]:
        """Return the JSON for the page; `keep` stores what the page fetches later."""


@dataclass(frozen=True, eq=False)
class Map(Part):
    """An attribution `(C, h, w)` or `(h, w)` of the model's input, drawn on the picture.

    The page draws it, so that sign, channels, colours and opacity can be changed there.

    Args:
        values: a tensor or array.
        style: initial style: one of `torchattr.show.STYLES`, or a `Style`.

    Raises:
        ShapeError: any other shape, or an empty array.

    >>> Map(np.ones((3, 4, 4)), "Ones").values.shape
    (3, 4, 4)
    """

    values: Any
    title: str = ""
    style: str | Style | None = None

    def __post_init__(self) -> None:
        array = as_floats(self.values).astype(np.float32)
        array = array[None] if array.ndim == 2 else array
        if array.ndim != 3 or 0 in array.shape:
            raise ShapeError(
                f"a map must have the shape (C, h, w) or (h, w), got {tuple(array.shape)}"
            )
        object.__setattr__(self, "values", array)

    def describe(self, scene: Scene, keep: Keep) -> dict[str, Any]:
        style = MapStyle.of(style_of(self.title, self.values, self.style))
        item = StoredMap(self.title, self.values, style, scene.prepared)
        return {
            "kind": "map",
            "title": self.title,
            "id": keep(item),
            "shape": self.values.shape,
            "box": [float(edge) for edge in scene.prepared.box],
            "size": scene.prepared.original.size,
            "style": style.as_json(),
        }


@dataclass(frozen=True, eq=False)
class Picture(Part):
    """A finished picture, in any form that `torchattr.show.as_picture` accepts.

    >>> Picture(np.zeros((2, 4))).image.shape
    (2, 4, 3)
    """

    image: Any
    title: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", as_picture(self.image))

    def describe(self, scene: Scene, keep: Keep) -> dict[str, Any]:
        height, width = self.image.shape[:2]
        kept = keep(StoredImage(self.title, Image.fromarray(self.image)))
        return {"kind": "picture", "title": self.title, "id": kept, "size": (width, height)}


@dataclass(frozen=True)
class Table(Part):
    """A table of texts and numbers.

    Raises:
        ShapeError: a row does not have one cell per column.

    >>> Table(["layer", "parameters"], [["stem", 864]]).rows[0][1]
    864
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    title: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ShapeError(f"a row has {len(row)} cells for {len(self.columns)} columns")

    def describe(self, scene: Scene, keep: Keep) -> dict[str, Any]:
        return {
            "kind": "table",
            "title": self.title,
            "columns": [str(name) for name in self.columns],
            "rows": [[plain(cell) for cell in row] for row in self.rows],
        }


@dataclass(frozen=True)
class Bars(Part):
    """A bar chart, with one value per label; negative ones extend to the left, in red.

    Args:
        labels: labels of the bars.
        values: lengths of the bars; a tensor, array or list.
        largest: value of a full bar; default: the largest one.
        percent: show the values as percentages.

    Raises:
        ShapeError: the numbers of labels and values differ.

    >>> Bars(["cat", "horse"], [0.9, 0.2], largest=1.0, percent=True).values
    [0.9, 0.2]
    """

    labels: Sequence[str]
    values: Any
    title: str = ""
    largest: float | None = None
    percent: bool = False

    def __post_init__(self) -> None:
        values = as_floats(self.values).astype(np.float64).reshape(-1).tolist()
        if len(values) != len(self.labels):
            raise ShapeError(f"{len(self.labels)} labels were given for {len(values)} values")
        object.__setattr__(self, "values", values)

    def describe(self, scene: Scene, keep: Keep) -> dict[str, Any]:
        known = [value for value in self.values if math.isfinite(value)]
        smallest = min([*known, 0.0])
        largest = self.largest or max([*known, 0.0])
        return {
            "kind": "bars",
            "title": self.title,
            "labels": [str(label) for label in self.labels],
            "values": [plain(value) for value in self.values],
            "smallest": smallest,
            "largest": largest if largest > smallest else 1.0,
            "percent": self.percent,
        }


@dataclass(frozen=True)
class Figure(Part):
    """A vector graphic: SVG source, or a Matplotlib figure.

    The page shows it as an image, so scripts in it do not run.

    Raises:
        InputTypeError: neither a string nor a Matplotlib figure.
        InputError: the string is not an SVG.

    >>> Figure("<svg xmlns='http://www.w3.org/2000/svg'/>", "Nothing").title
    'Nothing'
    """

    figure: Any
    title: str = ""
    svg: str = field(init=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "svg", _svg(self.figure))

    def describe(self, scene: Scene, keep: Keep) -> dict[str, Any]:
        return {
            "kind": "figure",
            "title": self.title,
            "id": keep(StoredFigure(self.title, self.svg)),
        }


@dataclass(frozen=True)
class Text(Part):
    """A paragraph.

    >>> Text("No unit is active.").text
    'No unit is active.'
    """

    text: str
    title: str = ""

    def describe(self, scene: Scene, keep: Keep) -> dict[str, Any]:
        return {"kind": "text", "title": self.title, "text": str(self.text)}


def plain(value: Any) -> Any:
    """Convert a value for JSON; numbers that are not finite become `None`.

    >>> plain(np.float32(2.0)), plain(float("inf")), plain((1, 2))
    (2.0, None, '(1, 2)')
    """
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, (int, str, type(None))) else str(value)


def _svg(figure: Any) -> str:
    if hasattr(figure, "savefig"):
        file = io.StringIO()
        figure.savefig(file, format="svg", bbox_inches="tight")
        return file.getvalue()
    if not isinstance(figure, str):
        raise InputTypeError(
            f"a figure must be SVG source or a Matplotlib figure, got {type(figure).__name__}"
        )
    if "<svg" not in figure:
        raise InputError("a figure given as a string must be SVG source, but it contains no <svg>")
    return figure

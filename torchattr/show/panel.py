"""The explanation panel: the map of each method for each class, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast, get_args

import numpy as np
from PIL import Image
from torch import Tensor

from torchattr.core.arguments import check_choice, checked_texts, plain_numbers
from torchattr.core.checked_numbers import as_number, checked_count, described
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.models import Box, place
from torchattr.show.arrays import as_floats, as_picture
from torchattr.show.class_table import ClassTable, Row
from torchattr.show.drawing import Drawing
from torchattr.show.legends import BAR, Legend
from torchattr.show.look import LIGHT, Look
from torchattr.show.numbers import short_number, value_range
from torchattr.show.page import Given, Page
from torchattr.show.scaling import kept
from torchattr.show.styles import Style, faded, recolored, style_of, title_of

View = Literal["crop", "photo"]

_LONGEST = 3
_ENDS = {-1: "−max", 0: "0", 1: "max"}


def panel(
    image: Any,
    maps: Mapping[str, Any],
    labels: Sequence[str],
    scores: Sequence[float | str] | None = None,
    **options: Any,
) -> Image.Image:
    """Return the explanation panel as an RGB picture: :func:`draw_panel`, with its options.

    >>> panel(np.zeros((8, 8)), {"grad_cam": np.ones((1, 4, 4))}, ["cat"], [0.9]).mode
    'RGB'
    """
    return draw_panel(image, maps, labels, scores, **options).image()


def draw_panel(
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
    view: View = "crop",
    cmap: str | None = None,
    activation: str | None = None,
    look: Look = LIGHT,
    given: str = "Input",
) -> Drawing:
    """Draw the explanation panel: the picture, then a row per class and a column per method.

    Above each row are the class and its score. Each map is scaled by its own
    largest value, so colours are *not* comparable between maps; ``rescale(shared=True)`` and
    ``grid`` make pictures that are. Below each map is its largest value, or its range if its method
    has negative ones, and the magnitude beyond which colours are clipped.

    image: the picture as it was read; see ``as_picture``.
    maps: for each method its raw maps ``(T, C, h, w)`` or ``(T, h, w)``, one per class. The key is
        the method's name (``"grad_cam"``, ``"GradCAM"``); other names are used as titles. A colour
        gradient of Deconvolution or GuidedBackprop is drawn around mid grey, a saliency map as
        heat, a class activation map over the picture, which is dimmed beneath it.
    labels: the T classes.
    scores: for each class a probability in 0..1, which is also drawn as a bar, or a text.
    title, subtitle: text above the panel.
    box: left, top, right and bottom of the part of ``image``, in its pixels, that the model saw
        and that the maps cover (``PreparedImage.box``); None for all of it.
    styles: for a method the ``Style`` or its name, one of ``STYLES``, instead of its default.
    cell: length of each picture's shorter side in units, at least 64; the longer one has at most
        three times as many.
    view: ``"crop"`` shows what is inside ``box``; ``"photo"`` the whole picture, with the rest
        faded.
    cmap: a colour map, one of ``SEQUENTIAL`` for maps without a sign or of ``DIVERGING`` for those
        with one, instead of the defaults of their styles.
    activation: what made the scores, such as ``"softmax"`` or ``"sigmoid"``, which is written
        beside each probability.
    look: light or dark, and the pixels per unit.
    given: the heading of the picture.

    Raises ``ShapeError`` if counts or shapes do not match, ``InputError`` for values
    that cannot be drawn.

    >>> page = draw_panel(np.zeros((8, 8)), {"grad_cam": np.ones((1, 4, 4))}, ["cat"], [0.9])
    >>> page.encoded("pdf")[:4]
    b'%PDF'
    """
    styles = {} if styles is None else styles
    _check_texts({"title": title, "subtitle": subtitle, "activation": activation, "given": given})
    labels = checked_texts(labels, "labels")
    _check_counts(maps, labels, scores, styles, cell)
    scores = None if scores is None else list(scores)
    scene = _Scene.of(image, box, cell, checked_view(view), look)
    columns = [
        _Column.of(name, values, len(labels), styles.get(name), cmap)
        for name, values in maps.items()
    ]
    rows = [
        Row(
            label=label,
            score=None if scores is None else scores[index],
            cells=[column.draw(index, scene) for column in columns],
            captions=[column.caption(index, scene) for column in columns],
        )
        for index, label in enumerate(labels)
    ]
    table = ClassTable([column.title for column in columns], rows, scene.size, activation)
    texts = (_note(columns, scene), title, subtitle)
    picture = Given(given, scene.input, scene.size)
    return Page(table, _legends(columns, scene, look), *texts, picture, look).draw()


@dataclass(frozen=True)
class _Scene:
    """What the pictures show, and the part of it that the model saw.

    size: width and height in units. seen: in pixels of ``picture``. unseen: where the model did not
    see it. input: the picture, faded there.
    note: a sentence on what is not shown in full; may be empty.
    """

    size: tuple[int, int]
    picture: np.ndarray
    seen: Box
    unseen: np.ndarray
    input: np.ndarray
    note: str

    @classmethod
    def of(
        cls, image: Any, box: Sequence[float] | None, cell: int, view: View, look: Look
    ) -> _Scene:
        original = Image.fromarray(as_picture(image))
        whole = Box(0, 0, *original.size)
        seen = whole if box is None else _checked(box)
        frame = _common(whole, seen) if view == "crop" else whole
        size = _size(frame, cell)
        width, height = (look.pixels(side) for side in size)
        resized = original.resize((width, height), Image.Resampling.LANCZOS, frame)
        picture = np.asarray(resized)
        shifted = Box(*(edge - frame[i % 2] for i, edge in enumerate(seen)))
        scaled = shifted.scaled(width / (frame.x1 - frame.x0), height / (frame.y1 - frame.y0))
        unseen = np.isnan(place(np.zeros((1, 1)), scaled, (height, width)))
        note = "The model did not see the faded parts." if unseen.any() else ""
        if frame != whole:
            note = "The pictures show the part of the photograph that the model saw."
        shown = faded(picture, unseen, look.colors.paper)
        return cls(size, picture, scaled, unseen, shown, note)


def _common(whole: Box, seen: Box) -> Box:
    """Return the part that is in both rectangles; the first if there is none."""
    found = Box(
        max(whole.x0, seen.x0),
        max(whole.y0, seen.y0),
        min(whole.x1, seen.x1),
        min(whole.y1, seen.y1),
    )
    return found if found.x0 < found.x1 and found.y0 < found.y1 else whole


def _size(frame: Box, cell: int) -> tuple[int, int]:
    """Return the width and height of pictures whose shorter side is a cell."""
    width, height = frame.x1 - frame.x0, frame.y1 - frame.y0
    factor = min(cell / min(width, height), _LONGEST * cell / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def checked_view(view: str) -> View:
    """Return what the pictures show; raises ``InputError`` for an unknown name."""
    check_choice("view", view, get_args(View))
    return cast(View, view)


def _checked(box: Sequence[float]) -> Box:
    listed = box.tolist() if isinstance(box, Tensor) else box
    edges = plain_numbers(list(listed)) if isinstance(listed, Iterable) else []
    if len(edges) != 4 or not all(isinstance(edge, (int, float)) for edge in edges):
        raise ShapeError(f"box must be (left, top, right, bottom), got {box!r}")
    found = Box(*edges)
    if not (found.x0 < found.x1 and found.y0 < found.y1):
        raise ShapeError(f"box must be (left, top, right, bottom), got {tuple(box)}")
    return found


def _as_number(score: Any) -> float:
    """Return a score, which may be a tensor of one element."""
    number = score.item() if isinstance(score, Tensor) and score.numel() == 1 else score
    return as_number(number, "scores")


@dataclass(frozen=True)
class _Column:
    """The maps of a method. values: reduced, ``(T, C, h, w)``."""

    title: str
    style: Style
    values: np.ndarray

    @classmethod
    def of(
        cls, name: str, values: Any, classes: int, style: str | Style | None, cmap: str | None
    ) -> _Column:
        array = as_floats(values, f"maps[{name!r}]")
        if np.isnan(array).any():
            raise InputError(f"maps[{name!r}] holds NaN, which cannot be drawn")
        array = array[:, None] if array.ndim == 3 else array
        if array.ndim != 4 or len(array) != classes or 0 in array.shape:
            raise ShapeError(
                f"maps[{name!r}] must have the shape (T, C, h, w) or (T, h, w) with T = {classes} "
                f"for {classes} labels, got {np.shape(values)}"
            )
        # A style that was handed over has the colours that its maker wants.
        own = style if isinstance(style, Style) else None
        chosen = own or recolored(style_of(name, array, style), cmap)
        return cls(title_of(name), chosen, np.stack([chosen.reduce(one) for one in array]))

    def draw(self, index: int, scene: _Scene) -> np.ndarray:
        painted = self.style.paint(scene.picture, self._placed(index, scene))
        return np.where(scene.unseen[..., None], scene.input, painted)

    def caption(self, index: int, scene: _Scene) -> str:
        """Return the largest value of a map or its range, and where its colours are clipped."""
        values, sign = self.values[index], self.style.sign
        shown = values if sign == "positive" else kept(values, sign)
        is_signed = self.span[0] < 0
        said = value_range(shown, is_signed)
        if self.style.percentile == 100:
            return said
        scale = self.scale(index, scene)
        if scale >= np.abs(shown).max():
            return said
        return f"{said} · clipped at {'±' if is_signed else ''}{short_number(scale)}"

    def scale(self, index: int, scene: _Scene) -> float:
        """Return the magnitude of the strongest colour."""
        # Interpolation makes peaks a little lower than the number in the caption.
        is_clipped = self.style.percentile < 100
        return self.style.scale(self._placed(index, scene) if is_clipped else self.values[index])

    def _placed(self, index: int, scene: _Scene) -> np.ndarray:
        return place(self.values[index], scene.seen, scene.picture.shape[:2])

    @cached_property
    def span(self) -> tuple[int, int]:
        """The ends of its colour bar."""
        return self.style.span(self.values)

    @property
    def bar(self) -> tuple[Style, int, tuple[int, int]]:
        """What its colour bar depends on."""
        return self.style, self.values.shape[1], self.span


def _note(columns: list[_Column], scene: _Scene) -> str:
    clipped = 100 - min(column.style.percentile for column in columns)
    scale = f"; up to {clipped:g} % of its pixels are clipped" if clipped else ""
    return f"Each map is scaled independently{scale}. {scene.note}".strip()


def _legends(columns: list[_Column], scene: _Scene, look: Look) -> list[Legend]:
    """Return one legend for each colour bar in use, naming its columns."""
    sharing: dict[tuple[Style, int, tuple[int, int]], list[_Column]] = {}
    for column in columns:
        sharing.setdefault(column.bar, []).append(column)
    return [
        Legend(
            style.bar(span, channels, look.pixels(BAR[0]), look.pixels(BAR[1])),
            _ends(of, span, scene),
            style.explained(span, channels),
            ", ".join(column.title for column in of),
        )
        for (style, channels, span), of in sharing.items()
    ]


def _ends(columns: list[_Column], span: tuple[int, int], scene: _Scene) -> tuple[str, str]:
    """Return the ends of a colour bar: numbers if it is that of a single map."""
    if len(columns) > 1 or len(columns[0].values) > 1:
        return _ENDS[span[0]], _ENDS[span[1]]
    scale = columns[0].scale(0, scene)
    return short_number(span[0] * scale), short_number(span[1] * scale)


def _check_texts(texts: Mapping[str, Any]) -> None:
    for name, text in texts.items():
        if not (text is None or isinstance(text, str)):
            raise InputTypeError(f"{name} must be a text, got {described(text)}")


def _check_counts(
    maps: Mapping[str, Any],
    labels: Sequence[str],
    scores: Sequence[float | str] | None,
    styles: Mapping[str, str | Style],
    cell: int,
) -> None:
    for name, given, example in (("maps", maps, "maps"), ("styles", styles, "'heat'")):
        if not isinstance(given, Mapping):
            raise InputTypeError(
                f"{name} must be by the names of methods, such as {{'grad_cam': {example}}}, got"
                f" {described(given)}"
            )
    if not labels or not maps:
        raise ShapeError("panel needs at least one label and the maps of one method")
    if not (scores is None or isinstance(scores, Sized)) or isinstance(scores, (str, Mapping)):
        raise InputTypeError(f"scores must be a sequence, one for each label, got {scores!r}")
    if scores is not None and len(scores) != len(labels):
        raise ShapeError(f"scores has {len(scores)} entries for {len(labels)} labels")
    for score in () if scores is None else scores:
        if not isinstance(score, str) and not 0 <= _as_number(score) <= 1:
            raise InputError(f"scores must be probabilities in 0..1, or texts, got {score}")
    if unknown := [name for name in styles if name not in maps]:
        raise InputError(f"styles names {unknown[0]!r}, which is not among maps: {', '.join(maps)}")
    if checked_count(cell, "cell", least=0) < 64:
        raise InputError(f"cell must be at least 64 pixels, got {cell}")

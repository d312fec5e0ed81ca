"""Drawn pages: texts, pictures and rectangles that can be written as PNG, PDF or SVG."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
from PIL import Image, ImageDraw

from torchattr.core.arguments import check_choice
from torchattr.core.checked_numbers import as_number
from torchattr.errors import InputError
from torchattr.show.elements import Element, Raster, Rectangle
from torchattr.show.look import LIGHT, RGB, Look
from torchattr.show.text import Align, TextLine, draw_line, text_lines

Format = Literal["png", "pdf", "svg"]
FORMATS: tuple[Format, ...] = get_args(Format)

MOST_PIXELS = 100_000_000
UNITS_PER_INCH = 96
"""Units of a page's layout per inch, where no resolution is asked for."""


class Markup(ABC):
    """Something that an HTML page lays out for its own width."""

    @abstractmethod
    def html(self) -> str:
        """Return it as HTML in the colours and fonts around it; see ``page_style``."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """A page of texts, pictures and rectangles, in the order in which they are drawn.

    Its layout is in units, of which ``look.scale`` is the number of pixels; its texts stay texts in
    PDF and SVG, and its pictures have the pixels that they were drawn with.

    width, height: in units.
    source: what was drawn, for HTML pages, which show texts as texts in lines of their own length.

    Raises ``InputError`` for more than 100,000,000 pixels.

    >>> page = Drawing(200, 40, Look(scale=2))
    >>> page.write(["a line of text"], (10, 10), 14)
    >>> page.image().size
    (400, 80)
    """

    width: int
    height: int
    look: Look = LIGHT
    elements: list[Element] = field(default_factory=list)
    source: Markup | None = None

    def __post_init__(self) -> None:
        width, height = self.look.pixels(self.width), self.look.pixels(self.height)
        if width * height > MOST_PIXELS:
            raise InputError(
                f"the page would have {width} × {height} pixels, more than {MOST_PIXELS:,} in all;"
                " draw less on it (some of the channels), or in a smaller cell or scale"
            )

    @classmethod
    def of(cls, picture: np.ndarray) -> Drawing:
        """Return a page that is one picture, uint8 ``(H, W, 3)``, without margins."""
        height, width = picture.shape[:2]
        page = cls(width, height)
        page.place(picture, (0, 0, width, height))
        return page

    def write(
        self,
        lines: Sequence[str],
        position: tuple[float, float],
        size: int,
        color: RGB | None = None,
        align: Align = "left",
    ) -> None:
        """Add lines below each other; ``position`` is the top left, or the top middle."""
        self.elements.extend(
            text_lines(lines, position, size, color or self.look.colors.ink, align)
        )

    def place(
        self, pixels: np.ndarray, box: tuple[float, float, float, float], smooth: bool = True
    ) -> None:
        """Add a picture, uint8 ``(H, W, 3)``, in a box: left, top, width and height."""
        self.elements.append(Raster(pixels, box, smooth))

    def fill(self, box: tuple[float, float, float, float], color: RGB) -> None:
        """Add a rectangle of one colour."""
        self.elements.append(Rectangle(box, color))

    def image(self) -> Image.Image:
        """Return the page as an RGB picture."""
        size = self.look.pixels(self.width), self.look.pixels(self.height)
        canvas = Image.new("RGB", size, self.look.colors.paper)
        for element in self.elements:
            _draw(canvas, element, self.look.scale)
        return canvas

    def encoded(self, form: Format = "png", dpi: float | None = None) -> bytes:
        """Return the content of a file.

        form: ``"png"``, ``"pdf"`` or ``"svg"``.
        dpi: pixels per inch, which is written into the file and sets the size of a printed page;
            by default 96 per unit of the layout.

        Raises ``InputError`` for another format, or a resolution that is not above zero.
        """
        checked_format(form)
        checked_dpi(dpi)
        if form == "png":
            return self._png(dpi)
        # Imported where a vector format is asked for: it loads parts of Matplotlib.
        from torchattr.show.vector import pdf, svg

        inch = UNITS_PER_INCH if dpi is None else dpi / self.look.scale
        write = pdf if form == "pdf" else svg
        return write(self.elements, (self.width, self.height), self.look.colors.paper, inch)

    def save(self, path: str | Path, dpi: float | None = None) -> None:
        """Write the page to a file, whose suffix is its format: ``.png``, ``.pdf`` or ``.svg``."""
        form = checked_format(Path(path).suffix.lower().removeprefix("."))
        Path(path).write_bytes(self.encoded(form, dpi))

    def _png(self, dpi: float | None) -> bytes:
        content = io.BytesIO()
        options = {} if dpi is None else {"dpi": (dpi, dpi)}
        self.image().save(content, "PNG", **options)
        return content.getvalue()


def checked_format(name: str) -> Format:
    """Return a format; raises ``InputError`` for an unknown one."""
    check_choice("the format", name, FORMATS)
    return cast(Format, name)


def checked_dpi(dpi: float | None) -> float | None:
    """Return a resolution; raises ``InputError`` if it is not above zero and finite."""
    if dpi is None:
        return None
    number = as_number(dpi, "dpi")
    if not 0 < number < float("inf"):
        raise InputError(f"dpi must be above 0 and finite, got {dpi}")
    return number


def _draw(canvas: Image.Image, element: Element, scale: float) -> None:
    if isinstance(element, TextLine):
        draw_line(canvas, element, scale)
    elif isinstance(element, Rectangle):
        _draw_rectangle(canvas, element, scale)
    else:
        _draw_raster(canvas, element, scale)


def _draw_rectangle(canvas: Image.Image, one: Rectangle, scale: float) -> None:
    left, top, right, bottom = _edges(one.box, scale)
    ImageDraw.Draw(canvas).rectangle((left, top, right - 1, bottom - 1), fill=one.color)


def _draw_raster(canvas: Image.Image, one: Raster, scale: float) -> None:
    left, top, right, bottom = _edges(one.box, scale)
    picture = Image.fromarray(one.pixels)
    if picture.size != (right - left, bottom - top):
        way = Image.Resampling.LANCZOS if one.smooth else Image.Resampling.NEAREST
        picture = picture.resize((right - left, bottom - top), way)
    canvas.paste(picture, (left, top))


def _edges(box: tuple[float, float, float, float], scale: float) -> tuple[int, int, int, int]:
    """Return the left, top, right and bottom of a box in pixels; it holds at least one."""
    left, top = round(box[0] * scale), round(box[1] * scale)
    # Rounded as a length, so that a picture keeps the pixels that it was made with.
    return left, top, left + max(1, round(box[2] * scale)), top + max(1, round(box[3] * scale))

"""Drawn pages as PDF and SVG: texts stay texts, pictures are embedded with their own pixels."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.patches import Rectangle as Patch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D
from PIL import Image

from torchattr.show.elements import Element, Raster, Rectangle
from torchattr.show.fonts import BUILT_IN, built_in_content, is_system_font, runs_of, sources_of
from torchattr.show.look import RGB
from torchattr.show.text import TextLine

_POINTS = 72
_SVG = "http://www.w3.org/2000/svg"
_MEASURED = 64
"""How many times larger texts are measured, since small ones are rounded to pixels."""

_PDF: dict[Any, Any] = {"pdf.fonttype": 42, "image.composite_image": False}
_FAMILY = "Aileron"
_FAMILIES = f"{_FAMILY}, 'DejaVu Sans', 'Noto Sans', Arial, sans-serif"


def svg(elements: Sequence[Element], size: tuple[int, int], paper: RGB, inch: float) -> bytes:
    """Return a page as SVG.

    size: width and height in units. paper: its colour. inch: the number of units in one.

    Pillow's built-in font is embedded; letters that it lacks are drawn by the fonts of the viewer.
    """
    width, height = size
    printed = {"width": f"{width / inch:g}in", "height": f"{height / inch:g}in"}
    view = f"0 0 {width} {height}"
    root = ElementTree.Element("svg", {"xmlns": _SVG, "viewBox": view, **printed})
    style = ElementTree.SubElement(root, "style")
    font = base64.b64encode(built_in_content()).decode()
    style.text = (
        f"@font-face {{ font-family: {_FAMILY}; src: url(data:font/ttf;base64,{font}); }}"
        f" text {{ font-family: {_FAMILIES}; white-space: pre; }}"
    )
    for one in (Rectangle((0, 0, width, height), paper), *elements):
        _add(root, one)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _add(root: ElementTree.Element, one: Element) -> None:
    if isinstance(one, TextLine):
        _svg_text(root, one)
    elif isinstance(one, Rectangle):
        _svg_rectangle(root, one)
    else:
        _svg_raster(root, one)


def _svg_text(root: ElementTree.Element, line: TextLine) -> None:
    anchor = {"text-anchor": "middle" if line.align == "center" else "start"}
    place = {"x": f"{line.x:g}", "y": f"{line.y:g}", "font-size": f"{line.size}"}
    text = ElementTree.SubElement(root, "text", {**place, "fill": _hex(line.color), **anchor})
    # The letters of the layout: what no font of this machine has is written as its code.
    text.text = "".join(piece for piece, _ in runs_of(line.text, line.size))


def _svg_rectangle(root: ElementTree.Element, one: Rectangle) -> None:
    ElementTree.SubElement(root, "rect", {**_svg_box(one.box), "fill": _hex(one.color)})


def _svg_raster(root: ElementTree.Element, one: Raster) -> None:
    content = io.BytesIO()
    Image.fromarray(_visible(one)).save(content, "PNG")
    data = base64.b64encode(content.getvalue()).decode()
    rendering = {} if one.smooth else {"style": "image-rendering: pixelated"}
    reference = {"href": f"data:image/png;base64,{data}", "preserveAspectRatio": "none"}
    ElementTree.SubElement(root, "image", {**_svg_box(one.box), **reference, **rendering})


def _visible(one: Raster) -> np.ndarray:
    """Return the pixels of a picture, repeated where a viewer would blur them."""
    if one.smooth:
        return one.pixels
    factor = max(
        1, *(-(-round(side) // n) for side, n in zip(one.box[2:], _size(one), strict=True))
    )
    return one.pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def _size(one: Raster) -> tuple[int, int]:
    height, width = one.pixels.shape[:2]
    return width, height


def _svg_box(box: tuple[float, float, float, float]) -> dict[str, str]:
    names = ("x", "y", "width", "height")
    return {name: f"{length:g}" for name, length in zip(names, box, strict=True)}


def _hex(color: RGB) -> str:
    return "#" + bytes(color).hex()


def pdf(elements: Sequence[Element], size: tuple[int, int], paper: RGB, inch: float) -> bytes:
    """Return a page as PDF; the arguments are those of :func:`svg`.

    Pillow's built-in font and DejaVu Sans are embedded; letters of the machine's other fonts become
    outlines, since a font of Chinese has megabytes.
    """
    content = io.BytesIO()
    width, height = size
    # Matplotlib takes fonts from files only, and reads them again when the page is written.
    with TemporaryDirectory(prefix="torchattr-") as folder, rc_context(_PDF):
        built_in = Path(folder, "font.ttf")
        built_in.write_bytes(built_in_content())
        figure = Figure(figsize=(width / inch, height / inch), facecolor=_hex(paper))
        FigureCanvasPdf(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        writer = _PdfPage(axes, inch, str(built_in))
        for one in elements:
            writer.add(one)
        axes.set(xlim=(0, width), ylim=(height, 0))
        figure.savefig(content, format="pdf", metadata={"CreationDate": None})
    return content.getvalue()


class _PdfPage:
    """Adds the elements of a page to Matplotlib's axes, one above the other."""

    def __init__(self, axes: Any, inch: float, built_in: str) -> None:
        self._axes = axes
        self._points = _POINTS / inch
        self._built_in = built_in
        self._order = 0

    def add(self, one: Element) -> None:
        self._order += 1
        if isinstance(one, TextLine):
            self._add_text(one)
            return
        left, top, width, height = one.box
        if isinstance(one, Rectangle):
            patch = Patch((left, top), width, height, color=_hex(one.color), linewidth=0)
            self._axes.add_patch(patch).set_zorder(self._order)
            return
        extent = (left, left + width, top + height, top)
        self._axes.imshow(
            _visible(one), extent=extent, interpolation="none", aspect="auto", zorder=self._order
        )

    def _add_text(self, line: TextLine) -> None:
        runs = sources_of(line.text, line.size * _MEASURED)
        widths = [font.getlength(piece) / _MEASURED for piece, _, font in runs]
        x = line.x - (sum(widths) / 2 if line.align == "center" else 0)
        for (piece, source, _), width in zip(runs, widths, strict=True):
            self._add_run(piece, source, x, line)
            x += width

    def _add_run(self, text: str, source: str, x: float, line: TextLine) -> None:
        font = FontProperties(fname=self._built_in if source == BUILT_IN else source)
        color = _hex(line.color)
        if is_system_font(source):
            # A dollar sign would begin mathematics.
            path = TextPath((0, 0), text.replace("$", r"\$"), size=line.size, prop=font)
            placed = Affine2D().scale(1, -1).translate(x, line.y) + self._axes.transData
            patch = PathPatch(path, color=color, linewidth=0, transform=placed, zorder=self._order)
            self._axes.add_patch(patch)
            return
        font.set_size(line.size * self._points)
        self._axes.text(
            x, line.y, text, color=color, fontproperties=font, parse_math=False, zorder=self._order
        )

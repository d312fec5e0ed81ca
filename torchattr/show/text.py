"""Text on pictures: fonts, widths, wrapping and drawing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from PIL import Image, ImageDraw, ImageFont

INK = (28, 30, 34)
MUTED = (105, 110, 118)

_LEADING = 1.3


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's built-in font, so that pictures look the same on every machine."""
    made = ImageFont.load_default(size)
    if not isinstance(made, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType, which torchattr.show needs for text")
    return made


def font_of(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Return the built-in font, or Matplotlib's DejaVu Sans for letters that the former lacks.

    The built-in font covers little more than English. Both are installed with dependencies.
    """
    return font(size) if all(map(_is_built_in, text)) else _broad_font(size)


@cache
def _is_built_in(letter: str) -> bool:
    return letter.isspace() or _glyph(letter) != _missing_glyph()


@cache
def _missing_glyph() -> bytes:
    return _glyph("\U0010ffff")


def _glyph(letter: str) -> bytes:
    # A mask is a sequence of grey levels, which Pillow's stub does not know.
    return bytes(cast("Iterable[int]", font(16).getmask(letter)))


@cache
def _broad_font(size: int) -> ImageFont.FreeTypeFont:
    # Importing Matplotlib takes a third of a second, and only its file is needed.
    found = find_spec("matplotlib")
    folder = Path((found and found.origin) or ".").parent
    file = folder / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(file), size) if file.is_file() else font(size)


def line_height(size: int) -> int:
    """Return the distance between two baselines in pixels."""
    return round(size * _LEADING)


def width_of(text: str, size: int) -> int:
    """Return the width of a line of text in pixels, rounded up."""
    return int(font_of(text, size).getlength(text)) + 1


def wrap(text: str, width: int, size: int) -> list[str]:
    """Wrap text into lines of at most ``width`` pixels, without truncation.

    Lines break after spaces, commas and separators of identifiers, and inside a word only if it is
    wider than a line.
    """
    lines = [""]
    for piece in re.findall(r"[^\s,/_.-]*[\s,/_.-]?", " ".join(text.split())):
        if width_of((lines[-1] + piece).rstrip(), size) > width and lines[-1]:
            lines.append("")
        for letter in piece:
            if width_of(lines[-1] + letter, size) > width and letter != " " and lines[-1]:
                lines.append("")
            lines[-1] += letter
    return [line.strip() for line in lines if line.strip()]


def draw_lines(
    canvas: Image.Image,
    lines: list[str],
    position: tuple[int, int],
    size: int,
    color: tuple[int, int, int] = INK,
    center: bool = False,
) -> None:
    """Draw lines below each other; ``position`` is the top left, or the top middle."""
    draw = ImageDraw.Draw(canvas)
    x, y = position
    for number, line in enumerate(lines):
        middle = y + (number + 0.5) * line_height(size)
        anchor = "mm" if center else "lm"
        draw.text((x, middle), line, color, font_of(line, size), anchor=anchor)

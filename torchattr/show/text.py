"""Setting text on a picture."""

from __future__ import annotations

import re
from functools import cache

from PIL import Image, ImageDraw, ImageFont

INK = (28, 30, 34)
MUTED = (105, 110, 118)

_LEADING = 1.3


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's built-in typeface, so that pictures look the same on every machine."""
    made = ImageFont.load_default(size)
    if not isinstance(made, ImageFont.FreeTypeFont):
        raise RuntimeError("Pillow was built without FreeType, which torchattr.show needs for text")
    return made


def line_height(size: int) -> int:
    """Distance between two baselines, in pixels."""
    return round(size * _LEADING)


def width_of(text: str, size: int) -> int:
    """The width of a line of text in pixels, rounded up."""
    return int(font(size).getlength(text)) + 1


def wrap(text: str, width: int, size: int) -> list[str]:
    """Break text into lines of at most ``width`` pixels; nothing is left out.

    Lines break after spaces, commas and the joints of identifiers, and inside a word only when
    it is wider than a line.
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
        draw.text((x, middle), line, color, font(size), anchor="mm" if center else "lm")

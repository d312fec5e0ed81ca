"""Text on pictures: widths, wrapping and drawing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageDraw

from torchattr.show.fonts import font, runs_of

_LEADING = 1.3
_WIDEST = 3
# Scripts without spaces, whose lines break between any two letters.
_UNSPACED = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
_INSIDE = rf"[^\s,/_.{_UNSPACED}-]|(?<=\d)[.,](?=\d)"
_PIECES = re.compile(rf"[{_UNSPACED}]|(?:{_INSIDE})*[\s,/_.-]?")

Align = Literal["left", "center"]


@dataclass(frozen=True)
class TextLine:
    """A line of text. x: of its left end, or of its middle. y: of its baseline; in units."""

    text: str
    x: float
    y: float
    size: int
    color: tuple[int, int, int]
    align: Align = "left"


def line_height(size: int) -> int:
    """Return the distance between two baselines in pixels."""
    return round(size * _LEADING)


def width_of(text: str, size: int) -> int:
    """Return the width of a line of text in pixels, rounded up."""
    return int(sum(one.getlength(piece) for piece, one in runs_of(text, size))) + 1


def wrap(text: str, width: int, size: int) -> list[str]:
    """Wrap text into lines of at most ``width`` pixels, without truncation.

    Lines break after spaces, commas and separators of identifiers, and inside a word only if it is
    wider than a line; see ``fitted``.
    """
    lines = [""]
    for piece in _pieces(text):
        if width_of((lines[-1] + piece).rstrip(), size) > width and lines[-1]:
            lines.append("")
        if width_of(piece.rstrip(), size) <= width:
            lines[-1] += piece
            continue
        for letter in piece:
            if width_of(lines[-1] + letter, size) > width and letter != " " and lines[-1]:
                lines.append("")
            lines[-1] += letter
    return [line.strip() for line in lines if line.strip()]


def fitted(texts: Iterable[str], width: int, largest: int, smallest: int) -> tuple[int, int]:
    """Return a font size and a width of lines at which no word is broken.

    The size is the largest at which each word fits into ``width``; if it does not fit at the
    smallest, the lines are widened, to at most three times the width.

    >>> fitted(["cat"], 100, 18, 12)
    (18, 100)
    """
    words = {piece.strip() for text in texts for piece in _pieces(text)}
    for size in range(largest, smallest, -1):
        if all(width_of(word, size) <= width for word in words):
            return size, width
    longest = max((width_of(word, smallest) for word in words), default=width)
    return smallest, min(max(longest, width), _WIDEST * width)


def _pieces(text: str) -> list[str]:
    return _PIECES.findall(" ".join(text.split()))


def baseline(size: int) -> float:
    """Return the distance from the top of a line to its baseline."""
    # All fonts share the baseline that centres the built-in one in its line.
    ascent, descent = font(size).getmetrics()
    return line_height(size) / 2 + (ascent - descent) / 2


def text_lines(
    lines: Iterable[str],
    position: tuple[float, float],
    size: int,
    color: tuple[int, int, int],
    align: Align = "left",
) -> list[TextLine]:
    """Lay lines below each other; ``position`` is the top left, or the top middle."""
    first = position[1] + baseline(size)
    return [
        TextLine(text, position[0], first + number * line_height(size), size, color, align)
        for number, text in enumerate(lines)
    ]


def draw_line(canvas: Image.Image, line: TextLine, scale: float = 1.0) -> None:
    """Draw a line of text on a picture that has ``scale`` pixels per unit."""
    draw = ImageDraw.Draw(canvas)
    runs = runs_of(line.text, line.size * scale)
    x, y = line.x * scale, line.y * scale
    if line.align == "center":
        x -= sum(one.getlength(piece) for piece, one in runs) / 2
    for piece, one in runs:
        draw.text((x, y), piece, line.color, one, anchor="ls")
        x += one.getlength(piece)

"""Text on pictures: widths, wrapping and drawing."""

from __future__ import annotations

import re
from collections.abc import Iterable

from PIL import Image, ImageDraw

from torchattr.show.fonts import font, runs_of

INK = (28, 30, 34)
MUTED = (105, 110, 118)

_LEADING = 1.3
_WIDEST = 3
# Scripts without spaces, whose lines break between any two letters.
_UNSPACED = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef"
_INSIDE = rf"[^\s,/_.{_UNSPACED}-]|(?<=\d)[.,](?=\d)"
_PIECES = re.compile(rf"[{_UNSPACED}]|(?:{_INSIDE})*[\s,/_.-]?")


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
    ascent, descent = font(size).getmetrics()
    for number, line in enumerate(lines):
        x = position[0] - (width_of(line, size) - 1) / 2 if center else float(position[0])
        # All fonts share the baseline that centres the built-in one in its line.
        y = position[1] + (number + 0.5) * line_height(size) + (ascent - descent) / 2
        for piece, one in runs_of(line, size):
            draw.text((x, y), piece, color, one, anchor="ls")
            x += one.getlength(piece)

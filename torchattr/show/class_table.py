"""A table of pictures: a row for each class with its score, a column for each method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape

import numpy as np

from torchattr.show.drawing import Drawing
from torchattr.show.html import captioned, cells_html
from torchattr.show.page import GAP, HEADING, NOTE, Body
from torchattr.show.text import baseline, fitted, line_height, width_of, wrap

LABEL = 18
BAR_HEIGHT = 4
NARROWEST = 96

_SMALLEST = 12
_ABOVE_BAR = 4
_ABOVE_CELLS = 8
_BETWEEN_ROWS = 18


@dataclass(frozen=True, eq=False)
class Row:
    """A class, its score, and its pictures, uint8 ``(H, W, 3)``, all of one size.

    captions: a line below each picture, or none at all.
    """

    label: str
    score: float | str | None
    cells: list[np.ndarray]
    captions: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class ClassTable(Body):
    """A table of pictures with headings; each row is below its label and score.

    size: width and height of each picture in units.
    activation: what made the scores, such as ``softmax``.
    """

    headings: list[str]
    rows: list[Row]
    size: tuple[int, int]
    activation: str | None = None

    @property
    def width(self) -> int:
        return max(self._left(len(self.headings)) - GAP, self._label_fit[1])

    @property
    def lead(self) -> int:
        return max(map(len, self._heading_lines)) * line_height(HEADING) + GAP // 2

    @property
    def height(self) -> int:
        return sum(self._row_heights) + (len(self.rows) - 1) * _BETWEEN_ROWS

    @property
    def overview(self) -> str:
        return f'<div class="scores">{"".join(map(self._score_html, self.rows))}</div>'

    def html(self) -> str:
        return "".join(map(self._row_html, self.rows))

    def _score_html(self, row: Row) -> str:
        bar = ""
        if row.score is not None and not isinstance(row.score, str):
            bar = f'<span class="bar"><span style="width:{100 * row.score:.2f}%"></span></span>'
        return self._label_html(row) + bar

    def _label_html(self, row: Row) -> str:
        said = f' <span class="muted">{escape(self._score(row))}</span>'
        return f'<p class="label"><b>{escape(row.label)}</b>{said}</p>'

    def _row_html(self, row: Row) -> str:
        captions = [[one] for one in row.captions] or [[]] * len(row.cells)
        figures = [
            captioned([cell], [heading, *caption], f"{heading}: {row.label}")
            for heading, cell, caption in zip(self.headings, row.cells, captions, strict=True)
        ]
        return f'<div class="row">{self._label_html(row)}{cells_html(figures, self.size[0])}</div>'

    def draw(self, page: Drawing, left: int, top: int) -> None:
        self._draw_headings(page, left, top)
        for number, height in enumerate(self._row_heights):
            self._draw_row(page, number, left, top)
            top += height + _BETWEEN_ROWS

    @cached_property
    def _heading_fit(self) -> tuple[int, int]:
        """The size of the headings, and the width of a column."""
        return fitted(self.headings, max(self.size[0], NARROWEST), HEADING, _SMALLEST)

    @cached_property
    def _label_fit(self) -> tuple[int, int]:
        """The size of the labels, and the width of their lines."""
        room = self._left(len(self.headings)) - GAP
        return fitted([row.label for row in self.rows], room, LABEL, _SMALLEST)

    @cached_property
    def _heading_lines(self) -> list[list[str]]:
        size, width = self._heading_fit
        return [wrap(heading, width, size) for heading in self.headings]

    @cached_property
    def _labels(self) -> list[list[str]]:
        size, width = self._label_fit
        return [wrap(row.label, width, size) for row in self.rows]

    @cached_property
    def _score_lines(self) -> list[list[str]]:
        """The scores that find no room behind their labels, which are below them."""
        return [
            [] if self._is_beside(number) else wrap(self._score(row), self._label_fit[1], NOTE)
            for number, row in enumerate(self.rows)
        ]

    def _is_beside(self, number: int) -> bool:
        """Whether a score is on the last line of its label."""
        return self._behind(number) + width_of(self._score(self.rows[number]), NOTE) <= self.width

    def _behind(self, number: int) -> int:
        """The left end of a score behind its label, from that of the table."""
        return width_of("".join(self._labels[number][-1:]), self._label_fit[0]) + GAP

    def _score(self, row: Row) -> str:
        return "" if row.score is None else score_text(row.score, self.activation)

    @cached_property
    def _captions(self) -> list[list[list[str]]]:
        return [[_lines(one, self._column) for one in row.captions] for row in self.rows]

    @cached_property
    def _heads(self) -> list[int]:
        """The height of each label with its score, and the room below them."""
        label = line_height(self._label_fit[0])
        return [
            len(lines) * label + len(scores) * line_height(NOTE) + _bar_room(row) + _ABOVE_CELLS
            for row, lines, scores in zip(self.rows, self._labels, self._score_lines, strict=True)
        ]

    @cached_property
    def _row_heights(self) -> list[int]:
        return [
            head + self.size[1] + max(map(len, captions), default=0) * line_height(NOTE)
            for head, captions in zip(self._heads, self._captions, strict=True)
        ]

    @property
    def _column(self) -> int:
        return self._heading_fit[1]

    def _left(self, column: int) -> int:
        """The left end of a column, from that of the table."""
        return column * (self._column + GAP)

    def _draw_headings(self, page: Drawing, left: int, top: int) -> None:
        size, width = self._heading_fit
        for column, lines in enumerate(self._heading_lines):
            middle = left + self._left(column) + width / 2
            above = top - GAP // 2 - len(lines) * line_height(size)
            page.write(lines, (middle, above), size, align="center")

    def _draw_row(self, page: Drawing, number: int, left: int, top: int) -> None:
        self._draw_label(page, number, left, top)
        top += self._heads[number]
        for column, cell in enumerate(self.rows[number].cells):
            shift = (self._column - self.size[0]) // 2
            page.place(cell, (left + self._left(column) + shift, top, *self.size))
        for column, lines in enumerate(self._captions[number]):
            middle = left + self._left(column) + self._column / 2
            below = top + self.size[1] + 2
            page.write(lines, (middle, below), NOTE, page.look.colors.muted, "center")

    def _draw_label(self, page: Drawing, number: int, left: int, top: int) -> None:
        row, lines, size = self.rows[number], self._labels[number], self._label_fit[0]
        page.write(lines, (left, top), size)
        bottom, muted = top + len(lines) * line_height(size), page.look.colors.muted
        if row.score is not None and self._is_beside(number):
            line = bottom - line_height(size) + baseline(size) - baseline(NOTE)
            page.write([self._score(row)], (left + self._behind(number), line), NOTE, muted)
        page.write(self._score_lines[number], (left, bottom), NOTE, muted)
        if _bar_room(row):
            below = bottom + len(self._score_lines[number]) * line_height(NOTE) + _ABOVE_BAR
            self._draw_bar(page, float(row.score or 0), left, below)

    def _draw_bar(self, page: Drawing, share: float, left: int, top: int) -> None:
        page.fill((left, top, self.width, BAR_HEIGHT), page.look.colors.rule)
        if length := round(self.width * share):
            page.fill((left, top, length, BAR_HEIGHT), page.look.colors.accent)


def _lines(caption: str, width: int) -> list[str]:
    """Wrap a caption; its parts are on lines of their own if they do not fit into one."""
    parts = [caption] if width_of(caption, NOTE) <= width else caption.split(" · ")
    return [line for part in parts for line in wrap(part, width, NOTE)]


def _bar_room(row: Row) -> int:
    """Return the height of the bar of a probability, with the room above it; others have none."""
    return 0 if row.score is None or isinstance(row.score, str) else _ABOVE_BAR + BAR_HEIGHT


def percent(share: float) -> str:
    """Return a share in percent, never rounded to 0 or 100."""
    if share < 0.0005:
        return "< 0.1 %"
    return "> 99.9 %" if share >= 0.9995 else f"{100 * share:.1f} %"


def score_text(score: float | str, activation: str | None = None) -> str:
    """Return a probability in percent with what made it, or a text as it is.

    >>> score_text(0.417, "softmax")
    '41.7 % (softmax)'
    """
    if isinstance(score, str):
        return score
    return percent(score) + (f" ({activation})" if activation else "")

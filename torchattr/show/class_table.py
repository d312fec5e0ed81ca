"""A table of pictures: a row for each class with its score, a column for each method."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from html import escape

import numpy as np

from torchattr.show.drawing import Drawing
from torchattr.show.html import captioned, cells_html
from torchattr.show.page import GAP, HEADING, NOTE, Body
from torchattr.show.text import fitted, line_height, wrap

LABEL = 18
LABEL_WIDTH = 132
BAR_HEIGHT = 4
NARROWEST = 96

_SMALLEST = 12


@dataclass(frozen=True, eq=False)
class Row:
    """A class, its score, and its pictures, uint8 ``(H, W, 3)``, all of one size."""

    label: str
    score: float | str | None
    cells: list[np.ndarray]


@dataclass(frozen=True, eq=False)
class ClassTable(Body):
    """A table of pictures with headings, row labels and scores.

    size: width and height of each picture in units.
    activation: what made the scores, such as ``softmax``.
    """

    headings: list[str]
    rows: list[Row]
    size: tuple[int, int]
    activation: str | None = None

    @property
    def width(self) -> int:
        return self._left(len(self.headings)) - GAP

    @property
    def lead(self) -> int:
        return max(map(len, self._heading_lines)) * line_height(HEADING) + GAP // 2

    @property
    def height(self) -> int:
        return sum(self._row_heights) + (len(self.rows) - 1) * GAP

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
        said = f' <span class="muted">{escape(self._score(row.score))}</span>'
        return f'<p class="label"><b>{escape(row.label)}</b>{said}</p>'

    def _row_html(self, row: Row) -> str:
        figures = [
            captioned([cell], [heading], f"{heading}: {row.label}")
            for heading, cell in zip(self.headings, row.cells, strict=True)
        ]
        return f'<div class="row">{self._label_html(row)}{cells_html(figures, self.size[0])}</div>'

    def draw(self, page: Drawing, left: int, top: int) -> None:
        self._draw_headings(page, left, top)
        for number, height in enumerate(self._row_heights):
            self._draw_row(page, number, left, top)
            top += height + GAP

    @cached_property
    def _heading_fit(self) -> tuple[int, int]:
        """The size of the headings, and the width of a column."""
        return fitted(self.headings, max(self.size[0], NARROWEST), HEADING, _SMALLEST)

    @cached_property
    def _label_fit(self) -> tuple[int, int]:
        """The size of the labels, and the width of their lines."""
        labels = [row.label for row in self.rows]
        return fitted(labels, LABEL_WIDTH - GAP, LABEL, _SMALLEST)

    @cached_property
    def _heading_lines(self) -> list[list[str]]:
        size, width = self._heading_fit
        return [wrap(heading, width, size) for heading in self.headings]

    @cached_property
    def _labels(self) -> list[list[str]]:
        size, width = self._label_fit
        return [wrap(row.label, width, size) for row in self.rows]

    @cached_property
    def _scores(self) -> list[list[str]]:
        return [wrap(self._score(row.score), self._label_fit[1], NOTE) for row in self.rows]

    def _score(self, score: float | str | None) -> str:
        return "" if score is None else score_text(score, self.activation)

    @cached_property
    def _row_heights(self) -> list[int]:
        label = line_height(self._label_fit[0])
        return [
            max(self.size[1], len(lines) * label + (len(scores) + 1) * line_height(NOTE))
            for lines, scores in zip(self._labels, self._scores, strict=True)
        ]

    def _left(self, column: int) -> int:
        """The left end of a column, from that of the table."""
        return self._label_fit[1] + 2 * GAP + column * (self._heading_fit[1] + GAP)

    def _draw_headings(self, page: Drawing, left: int, top: int) -> None:
        size, width = self._heading_fit
        for column, lines in enumerate(self._heading_lines):
            middle = left + self._left(column) + width / 2
            above = top - GAP // 2 - len(lines) * line_height(size)
            page.write(lines, (middle, above), size, align="center")

    def _draw_row(self, page: Drawing, number: int, left: int, top: int) -> None:
        lines, size = self._labels[number], self._label_fit[0]
        page.write(lines, (left, top), size)
        self._draw_score(page, number, left, top + len(lines) * line_height(size) + 2)
        for column, cell in enumerate(self.rows[number].cells):
            shift = (self._heading_fit[1] - self.size[0]) // 2
            page.place(cell, (left + self._left(column) + shift, top, *self.size))

    def _draw_score(self, page: Drawing, number: int, left: int, top: int) -> None:
        score, lines, colors = self.rows[number].score, self._scores[number], page.look.colors
        page.write(lines, (left, top), NOTE, colors.muted)
        if score is None or isinstance(score, str):
            return
        top += len(lines) * line_height(NOTE) + 5
        length = LABEL_WIDTH - GAP
        page.fill((left, top, length, BAR_HEIGHT), colors.rule)
        if round(length * score):
            page.fill((left, top, round(length * score), BAR_HEIGHT), colors.accent)


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

"""A captioned table of pictures, with headings, scores and legends."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image, ImageDraw

from torchattr.show.legends import Legend, LegendBlock
from torchattr.show.text import MUTED, draw_lines, fitted, line_height, wrap

MARGIN = 32
GAP = 12
TITLE, HEADING, LABEL, NOTE = 24, 15, 18, 13
LABEL_WIDTH = 132
BAR_HEIGHT = 4
NARROWEST = 96

_SMALLEST = 12
_RULE = (226, 228, 232)
_ACCENT = (49, 104, 142)


@dataclass(frozen=True, eq=False)
class Row:
    """A class, its score, and its pictures, uint8 ``(H, W, 3)``, all of one size."""

    label: str
    score: float | str | None
    cells: list[np.ndarray]


@dataclass(frozen=True, eq=False)
class PictureTable:
    """A table of pictures with headings, row labels and legends: dark text on white.

    given: a heading and a picture that belong to all rows, at the left of the first; the legends
        are below it if the rows leave room, else below all.
    activation: what made the scores, such as ``softmax``.
    """

    headings: list[str]
    rows: list[Row]
    legends: list[Legend]
    note: str
    title: str | None
    subtitle: str | None
    given: tuple[str, np.ndarray] | None = None
    activation: str | None = None

    def draw(self) -> Image.Image:
        """Return the table as an RGB picture, as large as its content."""
        canvas = Image.new("RGB", (self._width, self._height), "white")
        draw_lines(canvas, self._title, (MARGIN, MARGIN), TITLE)
        below = MARGIN + len(self._title) * line_height(TITLE)
        draw_lines(canvas, self._subtitle, (MARGIN, below + 4), NOTE, MUTED)
        self._draw_given(canvas)
        self._draw_headings(canvas)
        for number in range(len(self.rows)):
            self._draw_row(canvas, number)
        self._draw_legends(canvas)
        return canvas

    @cached_property
    def _heading_fit(self) -> tuple[int, int]:
        """The size of the headings, and the width of a column."""
        width = max(self.rows[0].cells[0].shape[1], NARROWEST)
        return fitted(self.headings, width, HEADING, _SMALLEST)

    @cached_property
    def _label_fit(self) -> tuple[int, int]:
        """The size of the labels, and the width of their lines."""
        labels = [row.label for row in self.rows]
        return fitted(labels, LABEL_WIDTH - GAP, LABEL, _SMALLEST)

    @cached_property
    def _cell(self) -> tuple[int, int]:
        return self._heading_fit[1], self.rows[0].cells[0].shape[0]

    @cached_property
    def _label_left(self) -> int:
        return MARGIN if self.given is None else MARGIN + self.given[1].shape[1] + 2 * GAP

    @cached_property
    def _width(self) -> int:
        return self._left(len(self.headings)) - GAP + MARGIN

    @cached_property
    def _title(self) -> list[str]:
        return wrap(self.title or "", self._width - 2 * MARGIN, TITLE)

    @cached_property
    def _subtitle(self) -> list[str]:
        return wrap(self.subtitle or "", self._width - 2 * MARGIN, NOTE)

    @cached_property
    def _heading_lines(self) -> list[list[str]]:
        return [wrap(heading, self._cell[0], self._heading_fit[0]) for heading in self.headings]

    @cached_property
    def _heading_top(self) -> int:
        top = MARGIN + len(self._title) * line_height(TITLE)
        top += len(self._subtitle) * line_height(NOTE)
        return top + (GAP * 2 if self._title or self._subtitle else 0)

    @cached_property
    def _labels(self) -> list[list[str]]:
        size, width = self._label_fit
        return [wrap(row.label, width, size) for row in self.rows]

    @cached_property
    def _scores(self) -> list[list[str]]:
        return [wrap(self._score(row.score), self._label_fit[1], NOTE) for row in self.rows]

    def _score(self, score: float | str | None) -> str:
        if score is None or isinstance(score, str):
            return score or ""
        return percent(score) + (f" ({self.activation})" if self.activation else "")

    @cached_property
    def _row_heights(self) -> list[int]:
        label = line_height(self._label_fit[0])
        return [
            max(self._cell[1], len(lines) * label + (len(scores) + 1) * line_height(NOTE))
            for lines, scores in zip(self._labels, self._scores, strict=True)
        ]

    def _row_top(self, number: int) -> int:
        headings = max(map(len, self._heading_lines)) * line_height(HEADING)
        above = sum(self._row_heights[:number]) + number * GAP
        return self._heading_top + headings + GAP // 2 + above

    @cached_property
    def _rows_bottom(self) -> int:
        return self._row_top(0) + sum(self._row_heights) + (len(self.rows) - 1) * GAP

    @cached_property
    def _given_bottom(self) -> int:
        return self._row_top(0) + (0 if self.given is None else self.given[1].shape[0])

    @cached_property
    def _aside(self) -> LegendBlock | None:
        """The legends, if they find room below the picture that belongs to all rows."""
        if self.given is None:
            return None
        block = LegendBlock(self.legends, self.note, self.given[1].shape[1])
        has_room = self._given_bottom + 2 * GAP + block.height <= self._rows_bottom
        return block if has_room and block.fits else None

    @cached_property
    def _below(self) -> LegendBlock:
        return LegendBlock(self.legends, self.note, self._width - 2 * MARGIN)

    @cached_property
    def _height(self) -> int:
        bottom = max(self._rows_bottom, self._given_bottom)
        below = 0 if self._aside else 3 * GAP - 8 + self._below.height
        return bottom + below + MARGIN

    def _left(self, column: int) -> int:
        labels = self._label_left + self._label_fit[1] + 2 * GAP
        return labels + column * (self._cell[0] + GAP)

    def _draw_given(self, canvas: Image.Image) -> None:
        if self.given is None:
            return
        heading, picture = self.given
        middle, top = MARGIN + picture.shape[1] // 2, self._row_top(0)
        above = top - GAP // 2 - line_height(HEADING)
        draw_lines(canvas, [heading], (middle, above), HEADING, center=True)
        canvas.paste(Image.fromarray(picture), (MARGIN, top))

    def _draw_headings(self, canvas: Image.Image) -> None:
        tallest = max(map(len, self._heading_lines))
        size = self._heading_fit[0]
        for column, lines in enumerate(self._heading_lines):
            middle = self._left(column) + self._cell[0] // 2
            top = (
                self._heading_top + tallest * line_height(HEADING) - len(lines) * line_height(size)
            )
            draw_lines(canvas, lines, (middle, top), size, center=True)

    def _draw_row(self, canvas: Image.Image, number: int) -> None:
        row, lines, top = self.rows[number], self._labels[number], self._row_top(number)
        size = self._label_fit[0]
        draw_lines(canvas, lines, (self._label_left, top), size)
        self._draw_score(canvas, number, top + len(lines) * line_height(size) + 2)
        for column, cell in enumerate(row.cells):
            shift = (self._cell[0] - cell.shape[1]) // 2
            canvas.paste(Image.fromarray(cell), (self._left(column) + shift, top))

    def _draw_score(self, canvas: Image.Image, number: int, top: int) -> None:
        score, lines, left = self.rows[number].score, self._scores[number], self._label_left
        draw_lines(canvas, lines, (left, top), NOTE, MUTED)
        if score is None or isinstance(score, str):
            return
        draw = ImageDraw.Draw(canvas)
        top += len(lines) * line_height(NOTE) + 5
        length = LABEL_WIDTH - GAP
        draw.rectangle((left, top, left + length, top + BAR_HEIGHT - 1), fill=_RULE)
        filled = round(length * score)
        if filled:
            draw.rectangle((left, top, left + filled, top + BAR_HEIGHT - 1), fill=_ACCENT)

    def _draw_legends(self, canvas: Image.Image) -> None:
        if self._aside is not None:
            self._aside.draw(canvas, (MARGIN, self._given_bottom + 2 * GAP))
            return
        top = max(self._rows_bottom, self._given_bottom) + 2 * GAP
        line = ImageDraw.Draw(canvas)
        line.line((MARGIN, top, self._width - MARGIN, top), fill=_RULE)
        self._below.draw(canvas, (MARGIN, top + GAP))


def percent(share: float) -> str:
    """Return a share in percent, never rounded to 0 or 100."""
    if share < 0.0005:
        return "< 0.1 %"
    return "> 99.9 %" if share >= 0.9995 else f"{100 * share:.1f} %"

"""A captioned table of pictures, with headings, scores and legends."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image, ImageDraw

from torchattr.show.colors import color_bar
from torchattr.show.text import MUTED, draw_lines, line_height, wrap

MARGIN = 32
GAP = 12
TITLE, HEADING, LABEL, NOTE = 24, 15, 18, 13
LABEL_WIDTH = 132
BAR_HEIGHT = 4
LEGEND_BAR = (120, 10)

_RULE = (226, 228, 232)
_ACCENT = (49, 104, 142)
_LINE_GAP = 4


@dataclass(frozen=True, eq=False)
class Row:
    """A class, its score, and its pictures, uint8 ``(H, W, 3)``, all of one size."""

    label: str
    score: float | str | None
    cells: list[np.ndarray]


@dataclass(frozen=True)
class Legend:
    """The meaning of the colours of some columns."""

    cmap: str
    text: str


@dataclass(frozen=True, eq=False)
class PictureTable:
    """A table of pictures with headings, row labels and legends: dark text on white."""

    headings: list[str]
    rows: list[Row]
    legends: list[Legend]
    note: str
    title: str | None
    subtitle: str | None

    def draw(self) -> Image.Image:
        """Return the table as an RGB picture, as large as its content."""
        canvas = Image.new("RGB", (self._width, self._height), "white")
        draw_lines(canvas, self._title, (MARGIN, MARGIN), TITLE)
        below = MARGIN + len(self._title) * line_height(TITLE)
        draw_lines(canvas, self._subtitle, (MARGIN, below + 4), NOTE, MUTED)
        self._draw_headings(canvas)
        for number in range(len(self.rows)):
            self._draw_row(canvas, number)
        self._draw_legends(canvas, self._row_top(len(self.rows)) + GAP)
        return canvas

    @cached_property
    def _cell(self) -> tuple[int, int]:
        height, width = self.rows[0].cells[0].shape[:2]
        return max(width, 96), height

    @cached_property
    def _width(self) -> int:
        return MARGIN * 2 + LABEL_WIDTH + len(self.headings) * (self._cell[0] + GAP)

    @cached_property
    def _title(self) -> list[str]:
        return wrap(self.title or "", self._width - 2 * MARGIN, TITLE)

    @cached_property
    def _subtitle(self) -> list[str]:
        return wrap(self.subtitle or "", self._width - 2 * MARGIN, NOTE)

    @cached_property
    def _heading_lines(self) -> list[list[str]]:
        return [wrap(heading, self._cell[0], HEADING) for heading in self.headings]

    @cached_property
    def _heading_top(self) -> int:
        top = MARGIN + len(self._title) * line_height(TITLE)
        top += len(self._subtitle) * line_height(NOTE)
        return top + (GAP * 2 if self._title or self._subtitle else 0)

    @cached_property
    def _labels(self) -> list[list[str]]:
        return [wrap(row.label, LABEL_WIDTH - GAP, LABEL) for row in self.rows]

    @cached_property
    def _row_heights(self) -> list[int]:
        texts = [len(lines) * line_height(LABEL) + line_height(NOTE) * 2 for lines in self._labels]
        return [max(self._cell[1], text) for text in texts]

    def _row_top(self, number: int) -> int:
        headings = max(map(len, self._heading_lines)) * line_height(HEADING)
        above = sum(self._row_heights[:number]) + number * GAP
        return self._heading_top + headings + GAP // 2 + above

    @cached_property
    def _notes(self) -> list[list[str]]:
        room = self._width - 2 * MARGIN - LEGEND_BAR[0] - GAP
        return [wrap(one.text, room, NOTE) for one in self.legends]

    @cached_property
    def _height(self) -> int:
        notes = sum(map(len, self._notes)) + 1
        legends = notes * (line_height(NOTE) + _LINE_GAP)
        return self._row_top(len(self.rows)) + 2 * GAP + legends + MARGIN - 8

    def _left(self, column: int) -> int:
        return MARGIN + LABEL_WIDTH + GAP + column * (self._cell[0] + GAP)

    def _draw_headings(self, canvas: Image.Image) -> None:
        tallest = max(map(len, self._heading_lines))
        for column, lines in enumerate(self._heading_lines):
            middle = self._left(column) + self._cell[0] // 2
            top = self._heading_top + (tallest - len(lines)) * line_height(HEADING)
            draw_lines(canvas, lines, (middle, top), HEADING, center=True)

    def _draw_row(self, canvas: Image.Image, number: int) -> None:
        row, lines, top = self.rows[number], self._labels[number], self._row_top(number)
        draw_lines(canvas, lines, (MARGIN, top), LABEL)
        if row.score is not None:
            _draw_score(canvas, row.score, top + len(lines) * line_height(LABEL) + 2)
        for column, cell in enumerate(row.cells):
            shift = (self._cell[0] - cell.shape[1]) // 2
            canvas.paste(Image.fromarray(cell), (self._left(column) + shift, top))

    def _draw_legends(self, canvas: Image.Image, top: int) -> None:
        line = ImageDraw.Draw(canvas)
        line.line((MARGIN, top, self._width - MARGIN, top), fill=_RULE)
        top += GAP
        for legend, notes in zip(self.legends, self._notes, strict=True):
            _draw_legend(canvas, legend, notes, top)
            top += len(notes) * (line_height(NOTE) + _LINE_GAP)
        draw_lines(canvas, [self.note], (MARGIN, top), NOTE, MUTED)


def _draw_legend(canvas: Image.Image, legend: Legend, lines: list[str], top: int) -> None:
    width, height = LEGEND_BAR
    bar = Image.fromarray(color_bar(width, height, legend.cmap))
    canvas.paste(bar, (MARGIN, top + (line_height(NOTE) - height) // 2))
    draw_lines(canvas, lines, (MARGIN + width + GAP, top), NOTE)


def percent(share: float) -> str:
    """Return a share in percent, never rounded to 0 or 100."""
    if share < 0.0005:
        return "< 0.1 %"
    return "> 99.9 %" if share >= 0.9995 else f"{100 * share:.1f} %"


def _draw_score(canvas: Image.Image, score: float | str, top: int) -> None:
    text = score if isinstance(score, str) else percent(score)
    draw_lines(canvas, wrap(text, LABEL_WIDTH - GAP, NOTE), (MARGIN, top), NOTE, MUTED)
    if isinstance(score, str):
        return
    draw = ImageDraw.Draw(canvas)
    top += line_height(NOTE) + 5
    right = MARGIN + LABEL_WIDTH - GAP
    draw.rectangle((MARGIN, top, right, top + BAR_HEIGHT - 1), fill=_RULE)
    filled = round((right - MARGIN) * score)
    if filled:
        draw.rectangle((MARGIN, top, MARGIN + filled, top + BAR_HEIGHT - 1), fill=_ACCENT)

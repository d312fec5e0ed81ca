"""The meaning of the colours of a page: colour bars with their ends, texts and a note."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image

from torchattr.show.text import MUTED, draw_lines, line_height, width_of, wrap

SIZE = 13
GAP = 12

_LINE_GAP = 4
_BESIDE = 200


@dataclass(frozen=True, eq=False)
class Legend:
    """The meaning of the colours of some columns: a bar, what its ends stand for, and a text."""

    bar: np.ndarray
    ends: tuple[str, str]
    text: str


@dataclass(frozen=True, eq=False)
class LegendBlock:
    """Legends below each other, then a note; the texts are beside the bars, or below if narrow."""

    legends: list[Legend]
    note: str
    width: int

    @property
    def fits(self) -> bool:
        """Whether the bars are no wider than the block."""
        return self._bar_width <= self.width

    @cached_property
    def height(self) -> int:
        """The height in pixels."""
        return sum(self._heights) + len(self._note) * line_height(SIZE) + _LINE_GAP

    def draw(self, canvas: Image.Image, position: tuple[int, int]) -> None:
        """Draw the block; ``position`` is its top left."""
        left, top = position
        for legend, lines, height in zip(self.legends, self._texts, self._heights, strict=True):
            self._draw_bar(canvas, legend, left, top)
            shift = (0, line_height(SIZE)) if self._is_narrow else (self._bar_width + GAP, 0)
            draw_lines(canvas, lines, (left + shift[0], top + shift[1]), SIZE)
            top += height
        draw_lines(canvas, self._note, (left, top), SIZE, MUTED)

    @cached_property
    def _end_width(self) -> int:
        ends = [end for legend in self.legends for end in legend.ends]
        return max((width_of(end, SIZE) for end in ends), default=0) + GAP // 2

    @cached_property
    def _bar_width(self) -> int:
        """The width of the bars and their ends."""
        bars = max((legend.bar.shape[1] for legend in self.legends), default=0)
        return bars + 2 * self._end_width

    @cached_property
    def _is_narrow(self) -> bool:
        return self.width < self._bar_width + GAP + _BESIDE

    @cached_property
    def _texts(self) -> list[list[str]]:
        room = self.width if self._is_narrow else self.width - self._bar_width - GAP
        return [wrap(one.text, room, SIZE) for one in self.legends]

    @cached_property
    def _note(self) -> list[str]:
        return wrap(self.note, self.width, SIZE)

    @cached_property
    def _heights(self) -> list[int]:
        if self._is_narrow:
            return [(len(lines) + 1) * line_height(SIZE) + GAP for lines in self._texts]
        return [len(lines) * (line_height(SIZE) + _LINE_GAP) for lines in self._texts]

    def _draw_bar(self, canvas: Image.Image, legend: Legend, left: int, top: int) -> None:
        height, width = legend.bar.shape[:2]
        low, high = legend.ends
        start = left if self._is_narrow else left + self._end_width - GAP // 2 - width_of(low, SIZE)
        draw_lines(canvas, [low], (start, top), SIZE, MUTED)
        bar_left = start + width_of(low, SIZE) + GAP // 2
        bar_top = top + (line_height(SIZE) - height) // 2
        canvas.paste(Image.fromarray(legend.bar), (bar_left, bar_top))
        draw_lines(canvas, [high], (bar_left + width + GAP // 2, top), SIZE, MUTED)

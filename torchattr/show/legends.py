"""The meaning of the colours of a page: colour bars with their ends, texts and a note."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from torchattr.show.drawing import Drawing
from torchattr.show.text import line_height, width_of, wrap

SIZE = 13
GAP = 12
BAR = (120, 12)
"""Width and height of a colour bar in units."""

_LINE_GAP = 4
_BESIDE = 200


@dataclass(frozen=True, eq=False)
class Legend:
    """The meaning of the colours of some pictures.

    bar: uint8 ``(height, width, 3)``, in pixels. ends: what its ends stand for.
    """

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

    def draw(self, page: Drawing, position: tuple[int, int]) -> None:
        """Draw the block; ``position`` is its top left."""
        left, top = position
        for legend, lines, height in zip(self.legends, self._texts, self._heights, strict=True):
            self._draw_bar(page, legend, left, top)
            shift = (0, line_height(SIZE)) if self._is_narrow else (self._bar_width + GAP, 0)
            page.write(lines, (left + shift[0], top + shift[1]), SIZE)
            top += height
        page.write(self._note, (left, top), SIZE, page.look.colors.muted)

    @cached_property
    def _end_widths(self) -> tuple[int, int]:
        """The widths of what is left and right of the bars."""
        ends = list(zip(*(legend.ends for legend in self.legends), strict=True))
        left, right = (max(width_of(end, SIZE) for end in side) + GAP // 2 for side in ends)
        return left, right

    @cached_property
    def _bar_width(self) -> int:
        """The width of the bars and their ends."""
        return BAR[0] + sum(self._end_widths) if self.legends else 0

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

    def _draw_bar(self, page: Drawing, legend: Legend, left: int, top: int) -> None:
        low, high = legend.ends
        muted = page.look.colors.muted
        beside = left + self._end_widths[0] - GAP // 2 - width_of(low, SIZE)
        start = left if self._is_narrow else beside
        page.write([low], (start, top), SIZE, muted)
        bar_left = start + width_of(low, SIZE) + GAP // 2
        page.place(legend.bar, (bar_left, top + (line_height(SIZE) - BAR[1]) // 2, *BAR))
        page.write([high], (bar_left + BAR[0] + GAP // 2, top), SIZE, muted)

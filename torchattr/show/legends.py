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
    text: the meaning. of: whose colours they are, if there are others.
    """

    bar: np.ndarray
    ends: tuple[str, str]
    text: str
    of: str = ""

    @property
    def line(self) -> str:
        """The whole meaning in one line."""
        return f"{self.of}: {self.text}" if self.of else self.text


@dataclass(frozen=True, eq=False)
class LegendBlock:
    """Legends below each other, then a note; the texts are beside the bars.

    In a narrow block they are above and below the bars, which take its width.
    """

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
            if self._is_narrow:
                self._draw_narrow(page, legend, lines, (left, top))
            else:
                self._draw_bar(page, legend, left, top, BAR[0])
                page.write(lines, (left + self._bar_width + GAP, top), SIZE)
            top += height
        page.write(self._note, (left, top), SIZE, page.look.colors.muted)

    def _draw_narrow(
        self, page: Drawing, legend: Legend, lines: list[str], position: tuple[int, int]
    ) -> None:
        left, top = position
        names = wrap(legend.of, self.width, SIZE)
        page.write(names, position, SIZE)
        top += len(names) * line_height(SIZE)
        self._draw_bar(page, legend, left, top, self.width - sum(self._end_widths))
        color = page.look.colors.muted if names else None
        page.write(lines, (left, top + line_height(SIZE)), SIZE, color)

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
        texts = [one.text if self._is_narrow else one.line for one in self.legends]
        return [wrap(text, room, SIZE) for text in texts]

    @cached_property
    def _note(self) -> list[str]:
        return wrap(self.note, self.width, SIZE)

    @cached_property
    def _heights(self) -> list[int]:
        if self._is_narrow:
            return [
                (len(wrap(one.of, self.width, SIZE)) + 1 + len(lines)) * line_height(SIZE) + GAP
                for one, lines in zip(self.legends, self._texts, strict=True)
            ]
        return [len(lines) * (line_height(SIZE) + _LINE_GAP) for lines in self._texts]

    def _draw_bar(self, page: Drawing, legend: Legend, left: int, top: int, width: int) -> None:
        low, high = legend.ends
        muted = page.look.colors.muted
        bar_left = left + self._end_widths[0]
        page.write([low], (bar_left - GAP // 2 - width_of(low, SIZE), top), SIZE, muted)
        box = (bar_left, top + (line_height(SIZE) - BAR[1]) // 2, width, BAR[1])
        page.place(legend.bar, box)
        page.write([high], (bar_left + width + GAP // 2, top), SIZE, muted)

"""A gallery: pictures in rows, each with a caption below it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from torchattr.errors import ShapeError
from torchattr.show.drawing import Drawing
from torchattr.show.grid import rows_and_columns
from torchattr.show.html import captioned, cells_html
from torchattr.show.page import GAP, HEADING, NOTE, Body
from torchattr.show.text import line_height, wrap

_BETWEEN = 4


@dataclass(frozen=True, eq=False)
class GridCell:
    """Pictures that belong together, side by side, with a caption.

    pictures: uint8 ``(H, W, 3)``. size: width and height of each in units.
    caption: the lines below them; long ones are wrapped.
    smooth: whether pixels are interpolated where a page enlarges them.
    """

    pictures: Sequence[np.ndarray]
    size: tuple[int, int]
    caption: Sequence[str] = ()
    smooth: bool = False

    @property
    def width(self) -> int:
        """The width of all pictures in units."""
        return len(self.pictures) * (self.size[0] + _BETWEEN) - _BETWEEN

    def draw(self, page: Drawing, left: float, top: float) -> None:
        """Draw the pictures."""
        for number, picture in enumerate(self.pictures):
            shift = number * (self.size[0] + _BETWEEN)
            page.place(picture, (left + shift, top, *self.size), self.smooth)


@dataclass(frozen=True, eq=False)
class CaptionedGrid(Body):
    """Tiles row by row, in cells as large as the largest.

    columns: their number; ``None`` makes the gallery nearly square.
    headings: of the columns, from left to right, if there are any.

    Raises ``ShapeError`` for less than one column, no tile, or headings that are not one for each
    column.
    """

    tiles: Sequence[GridCell]
    columns: int | None = None
    headings: Sequence[str] = ()

    @property
    def width(self) -> int:
        return self._shape[1] * (self._cell[0] + GAP) - GAP

    @property
    def lead(self) -> int:
        most = max(map(len, self._heading_lines), default=0)
        return most * line_height(HEADING) + GAP // 2 if most else 0

    @property
    def height(self) -> int:
        return self._shape[0] * (self._cell[1] + self._below + GAP) - GAP

    @property
    def overview(self) -> str:
        return ""

    def html(self) -> str:
        columns = self._shape[1]
        figures = [
            captioned(
                tile.pictures,
                [*self.headings[number % columns :][:1], *tile.caption],
                smooth=tile.smooth,
            )
            for number, tile in enumerate(self.tiles)
        ]
        return f'<div class="row">{cells_html(figures, self._cell[0])}</div>'

    def draw(self, page: Drawing, left: int, top: int) -> None:
        width, height = self._cell
        for column, lines in enumerate(self._heading_lines):
            middle = left + column * (width + GAP) + width / 2
            above = top - GAP // 2 - len(lines) * line_height(HEADING)
            page.write(lines, (middle, above), HEADING, align="center")
        for number, tile in enumerate(self.tiles):
            row, column = divmod(number, self._shape[1])
            x = left + column * (width + GAP) + (width - tile.width) // 2
            y = top + row * (height + self._below + GAP)
            tile.draw(page, x, y + (height - tile.size[1]) // 2)
            middle = left + column * (width + GAP) + width / 2
            page.write(self._captions[number], (middle, y + height + 2), NOTE, align="center")

    @cached_property
    def _cell(self) -> tuple[int, int]:
        """The width and height of the largest pictures."""
        return max(tile.width for tile in self.tiles), max(tile.size[1] for tile in self.tiles)

    @cached_property
    def _shape(self) -> tuple[int, int]:
        """The number of rows and columns."""
        count, (width, height) = len(self.tiles), self._cell
        if self.columns is not None:
            return rows_and_columns(count, None, self.columns)
        columns = min(count, max(1, math.ceil(math.sqrt(count * height / width) - 1e-9)))
        return rows_and_columns(count, None, columns)

    @cached_property
    def _heading_lines(self) -> list[list[str]]:
        columns = self._shape[1]
        if self.headings and len(self.headings) != columns:
            raise ShapeError(f"headings has {len(self.headings)} entries for {columns} columns")
        return [wrap(heading, self._cell[0], HEADING) for heading in self.headings]

    @cached_property
    def _captions(self) -> list[list[str]]:
        return [
            [line for text in tile.caption for line in wrap(text, self._cell[0], NOTE)]
            for tile in self.tiles
        ]

    @cached_property
    def _below(self) -> int:
        """The height of the captions."""
        return max(map(len, self._captions)) * line_height(NOTE) + 2

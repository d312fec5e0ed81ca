"""The page of a figure: titles, the picture that it is about, its body, and the legends."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from html import escape

import numpy as np

from torchattr.show.drawing import Drawing, Markup
from torchattr.show.html import captioned, legend_html
from torchattr.show.legends import Legend, LegendBlock
from torchattr.show.look import LIGHT, Look
from torchattr.show.text import line_height, wrap

MARGIN = 32
GAP = 12
TITLE, HEADING, NOTE = 24, 15, 13

_NARROWEST = 280


class Body(Markup):
    """What a page shows, in units."""

    @property
    @abstractmethod
    def width(self) -> int: ...

    @property
    @abstractmethod
    def lead(self) -> int:
        """The height of the headings."""

    @property
    @abstractmethod
    def height(self) -> int:
        """The height below the headings."""

    @property
    @abstractmethod
    def overview(self) -> str:
        """What stands beside the picture that belongs to all, as HTML; may be empty."""

    @abstractmethod
    def draw(self, page: Drawing, left: int, top: int) -> None:
        """Draw it; ``top`` is what follows the headings."""


@dataclass(frozen=True, eq=False)
class Given:
    """A picture that belongs to all of a body: its heading, its pixels, and its size in units."""

    heading: str
    pixels: np.ndarray
    size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Page(Markup):
    """A body with titles and legends.

    given: at the left of the body; the legends are below it if the body leaves room, else below
        all.
    """

    body: Body
    legends: list[Legend]
    note: str = ""
    title: str | None = None
    subtitle: str | None = None
    given: Given | None = None
    look: Look = LIGHT

    def draw(self) -> Drawing:
        """Return the page, as large as its content."""
        page = Drawing(self._width, self._height, self.look, source=self)
        page.write(self._title, (MARGIN, MARGIN), TITLE)
        below = MARGIN + len(self._title) * line_height(TITLE)
        page.write(self._subtitle, (MARGIN, below + 4), NOTE, self.look.colors.muted)
        self._draw_given(page)
        self.body.draw(page, self._body_left, self._top)
        self._draw_legends(page)
        return page

    def html(self) -> str:
        """Return the page without its title: that of the HTML page is above it."""
        line = f'<p class="muted">{escape(self.subtitle)}</p>' if self.subtitle else ""
        legends = "".join(legend_html(one.bar, one.ends, one.line) for one in self.legends)
        note = f'<p class="note muted">{escape(self.note)}</p>' if self.note else ""
        below = f'<div class="row"><div class="legends">{legends}</div>{note}</div>'
        return f'<div class="torchattr">{self._head(line)}{self.body.html()}{below}</div>'

    def _head(self, line: str) -> str:
        if self.given is None:
            return line
        size = "" if self.body.overview else " small"
        picture = captioned([self.given.pixels], [self.given.heading] if not size else [])
        return f'<div class="given{size}">{picture}<div>{line}{self.body.overview}</div></div>'

    @cached_property
    def _body_left(self) -> int:
        return MARGIN if self.given is None else MARGIN + self.given.size[0] + 2 * GAP

    @cached_property
    def _width(self) -> int:
        return max(self._body_left + self.body.width, MARGIN + _NARROWEST) + MARGIN

    @cached_property
    def _title(self) -> list[str]:
        return wrap(self.title or "", self._width - 2 * MARGIN, TITLE)

    @cached_property
    def _subtitle(self) -> list[str]:
        return wrap(self.subtitle or "", self._width - 2 * MARGIN, NOTE)

    @cached_property
    def _top(self) -> int:
        """The top of the picture that belongs to all, and of what is below the headings."""
        top = MARGIN + len(self._title) * line_height(TITLE)
        top += len(self._subtitle) * line_height(NOTE)
        given = 0 if self.given is None else line_height(HEADING) + GAP // 2
        return top + (GAP * 2 if self._title or self._subtitle else 0) + max(self.body.lead, given)

    @cached_property
    def _body_bottom(self) -> int:
        return self._top + self.body.height

    @cached_property
    def _given_bottom(self) -> int:
        return self._top + (0 if self.given is None else self.given.size[1])

    @cached_property
    def _aside(self) -> LegendBlock | None:
        """The legends, if they find room below the picture that belongs to all."""
        if self.given is None:
            return None
        block = LegendBlock(self.legends, self.note, self.given.size[0])
        has_room = self._given_bottom + 2 * GAP + block.height <= self._body_bottom
        return block if has_room and block.fits else None

    @cached_property
    def _below(self) -> LegendBlock:
        return LegendBlock(self.legends, self.note, self._width - 2 * MARGIN)

    @cached_property
    def _height(self) -> int:
        bottom = max(self._body_bottom, self._given_bottom)
        has_nothing_below = self._aside or not (self.legends or self.note)
        below = 0 if has_nothing_below else 3 * GAP - 8 + self._below.height
        return bottom + below + MARGIN

    def _draw_given(self, page: Drawing) -> None:
        if self.given is None:
            return
        width, height = self.given.size
        above = self._top - GAP // 2 - line_height(HEADING)
        page.write([self.given.heading], (MARGIN + width / 2, above), HEADING, align="center")
        page.place(self.given.pixels, (MARGIN, self._top, width, height))

    def _draw_legends(self, page: Drawing) -> None:
        if self._aside is not None:
            self._aside.draw(page, (MARGIN, self._given_bottom + 2 * GAP))
        elif self.legends or self.note:
            top = max(self._body_bottom, self._given_bottom) + 2 * GAP
            page.fill((MARGIN, top, self._width - 2 * MARGIN, 1), self.look.colors.rule)
            self._below.draw(page, (MARGIN, top + GAP))

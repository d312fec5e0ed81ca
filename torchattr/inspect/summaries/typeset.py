"""Setting a table and its totals as text and as HTML."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.table import Table

_TEXT_COLUMNS = ("Layer", "Name", "Output", "No rule")
"""The columns that are aligned left; the others hold numbers."""

_CELL = "padding:1px 8px;white-space:pre;text-align:"


def as_text(
    headings: Sequence[str], rows: Sequence[Sequence[str]], totals: Sequence[tuple[str, str]]
) -> str:
    """Return rows under their headings, and the totals below; empty columns are left out.

    >>> print(as_text(["Name", "#"], [["a", "10"], ["b", "9"]], [("Sum", "19")]))
    Name   #
    ────────
    a     10
    b      9
    ────────
    Sum  19
    """
    # Rich takes as long to import as all of this package.
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    kept = _filled_columns(rows)
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in kept:
        table.add_column(headings[column], justify=_side(headings[column]), no_wrap=True)
    _add_rows(table, [[row[column] for column in kept] for row in rows])
    below = Table.grid(padding=(0, 2))
    _add_rows(below, totals)
    head, rule, *body = _lines_of(table)
    return "\n".join((head, rule, *body, rule, *_lines_of(below)))


def as_html(
    headings: Sequence[str], rows: Sequence[Sequence[str]], totals: Sequence[tuple[str, str]]
) -> str:
    """Return the same as two HTML tables, without scripts or style sheets."""
    kept = _filled_columns(rows)
    head = "".join(_cell("th", headings[column], headings[column]) for column in kept)
    body = "".join(
        f"<tr>{''.join(_cell('td', row[column], headings[column]) for column in kept)}</tr>"
        for row in rows
    )
    below = "".join(
        f"<tr>{_cell('td', name, 'Name')}{_cell('td', value, '')}</tr>" for name, value in totals
    )
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<table><tbody>{below}</tbody></table>"
    )


def _add_rows(table: Table, rows: Sequence[Sequence[str]]) -> None:
    from rich.text import Text

    for row in rows:
        # As a Text, so that brackets in names are not markup.
        table.add_row(*map(Text, row))


def _lines_of(table: Table) -> list[str]:
    """Return a table's lines in full, however narrow the terminal is."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=10_000, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(table, crop=False)
    return [line.rstrip() for line in captured.get().splitlines()]


def _filled_columns(rows: Sequence[Sequence[str]]) -> list[int]:
    return [number for number, column in enumerate(zip(*rows, strict=True)) if any(column)]


def _side(heading: str) -> Literal["left", "right"]:
    return "left" if heading in _TEXT_COLUMNS else "right"


def _cell(tag: str, text: str, heading: str) -> str:
    return f'<{tag} style="{_CELL}{_side(heading)}">{escape(text)}</{tag}>'

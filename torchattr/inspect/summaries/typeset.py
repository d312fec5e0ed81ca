"""Setting a table as text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_TEXT_COLUMNS = ("Layer", "Name", "Output", "No rule")
"""The columns that are set from the left; the others hold numbers."""

_CELL = "padding:1px 8px;white-space:pre;text-align:"


def as_text(
    headings: Sequence[str], rows: Sequence[Sequence[str]], lines: Sequence[tuple[str, str]]
) -> str:
    """Set rows under their headings, and the lines below; columns without content are left out.

    >>> print(as_text(["Name", "#"], [["a", "10"], ["b", "9"]], [("Sum", "19")]))
    Name   #
    --------
    a     10
    b      9
    --------
    Sum  19
    """
    kept = _filled(rows)
    table = [[row[column] for column in kept] for row in (headings, *rows)]
    names = table[0]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    set_rows = [
        "  ".join(_justified(*cell) for cell in zip(row, widths, names, strict=True)).rstrip()
        for row in table
    ]
    label = max(len(name) for name, _ in lines)
    below = [f"{name:<{label}}  {value}" for name, value in lines]
    rule = "-" * max(map(len, set_rows))
    return "\n".join((set_rows[0], rule, *set_rows[1:], rule, *below))


def as_html(
    headings: Sequence[str], rows: Sequence[Sequence[str]], lines: Sequence[tuple[str, str]]
) -> str:
    """The same as two HTML tables, without scripts or style sheets."""
    kept = _filled(rows)
    head = "".join(_cell("th", headings[column], headings[column]) for column in kept)
    body = "".join(
        f"<tr>{''.join(_cell('td', row[column], headings[column]) for column in kept)}</tr>"
        for row in rows
    )
    below = "".join(
        f"<tr>{_cell('td', name, 'Name')}{_cell('td', value, '')}</tr>" for name, value in lines
    )
    return (
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<table><tbody>{below}</tbody></table>"
    )


def _filled(rows: Sequence[Sequence[str]]) -> list[int]:
    return [number for number, column in enumerate(zip(*rows, strict=True)) if any(column)]


def _justified(text: str, width: int, heading: str) -> str:
    return text.ljust(width) if heading in _TEXT_COLUMNS else text.rjust(width)


def _cell(tag: str, text: str, heading: str) -> str:
    side = "left" if heading in _TEXT_COLUMNS else "right"
    return f'<{tag} style="{_CELL}{side}">{escape(text)}</{tag}>'

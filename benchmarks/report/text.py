"""Figures as Markdown, and the progress of a run on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def say(*words: object) -> None:
    """Print progress without buffering, even to a pipe."""
    print(*words, flush=True)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table, followed by an empty line."""
    return [_line(head), "|---" * len(head) + "|", *map(_line, rows), ""]


def number(value: float | None) -> str:
    """Return three significant digits, without an exponent; a dash for nothing."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return (
        f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.2f}"
        if abs(value) >= 0.1
        else f"{value:.2g}"
    )


def timed(side: Any) -> str:
    """Return a side's time with torchattr's share of it in brackets, or why it has none."""
    if side is None:
        return "–"
    if "wrong" in side:
        return side["wrong"]
    share = f" ({number(side['ratio'])})" if "ratio" in side else ""
    return number(side["ms"]) + share


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

"""Tables as plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torchattr.evaluate.bootstrap import two_digits


@dataclass(frozen=True)
class TextTable:
    """Rows of cells under a head.

    >>> print(TextTable(["method", "mass"], [["saliency", "0.4"], ["lrp", "0.65"]]))
    method    mass
    saliency  0.4
    lrp       0.65
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        lines = [self.head, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(_line(cells, widths) for cells in lines)

    def as_markdown(self) -> Iterator[str]:
        """Yield the lines of a table of Markdown."""
        for cells in (self.head, ["---"] * len(self.head), *self.rows):
            yield f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """Return two decimals; a dash for NaN.

    >>> number(-0.001), number(float("nan"))
    ('0.00', '–')
    """
    return "–" if value != value else two_digits(value)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell + " " * (width - len(cell)) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join(padded).rstrip()

"""Bars, tables and progress in the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from torchattr.cli.console import err, out
from torchattr.core.printable import printable

if TYPE_CHECKING:
    from torchattr.methods import Ledger
    from torchattr.models import LoadedModel
    from torchattr.runs import Answer

BAR_WIDTH = 32
SHOWN = 5
_UNBROKEN = 1000
_APART = 2
_NARROWEST = 16


def predictions(
    title: str, answer: Answer, targets: Sequence[int], loaded: LoadedModel
) -> RenderableType:
    """Draw the top classes and the explained ones as bars, the latter in bold."""
    values = answer.probabilities
    best = values.topk(min(SHOWN, len(values))).indices.tolist()
    largest = 1.0 if answer.bounded else max(float(values.max()), 1e-9)
    table = Table.grid(padding=(0, 1))
    for index in sorted({*best, *targets}, key=lambda index: -float(values[index])):
        value = float(values[index])
        style = "bold" if index in targets else "dim"
        bar = ProgressBar(
            largest,
            max(value, 0.0),
            BAR_WIDTH,
            complete_style="cyan",
            finished_style="cyan",
        )
        name = Text(printable(loaded.class_name(index)), style)
        mark = Text("▸" if index in targets else " ", "bold cyan")
        table.add_row(mark, name, bar, Text(answer.said(value), style))
    return Group(Text(printable(title), "bold"), table)


def account(title: str, ledger: Ledger) -> RenderableType:
    """Draw where a score went as bars, what was against it in red, and the largest entries."""
    shares = ledger.by_reason()
    largest = max((abs(share) for share in shares.values()), default=0.0) or 1.0
    table = Table.grid(padding=(0, 1))
    for name, share in shares.items():
        color = "cyan" if share >= 0 else "red"
        bar = ProgressBar(
            largest, abs(share), BAR_WIDTH, complete_style=color, finished_style=color
        )
        table.add_row(Text(name), bar, Text(f"{share:+.4g}"))
    for entry in ledger.largest(SHOWN):
        place = f"{entry.reason} in {entry.layer}" if entry.layer else entry.reason
        table.add_row(Text(""), Text(printable(place), "dim"), Text(f"{entry.amount:+.4g}", "dim"))
    head = f"{title}: where the score {ledger.score:+.4g} went"
    return Group(Text(printable(head), "bold"), table)


def show_json(data: Any) -> None:
    """Print data as JSON, in one piece whatever the width of the terminal."""
    out.print(json.dumps(data, indent=2, default=str), soft_wrap=True)


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], wide: str = "") -> None:
    """Print a plain table; cells are printed verbatim, and no part of one is left out.

    A terminal may be too narrow. There the column called `wide` is wrapped, and if the others leave
    no room for it, those that take more than a quarter of a line; without such a column, the table
    is continued below itself.
    """
    cells = [[one if isinstance(one, Text) else Text(str(one)) for one in row] for row in rows]
    console = out if out.is_terminal else Console(width=_UNBROKEN, highlight=False)
    lengths = [
        max(cell_len(name), *(row[number].cell_len for row in cells)) if cells else cell_len(name)
        for number, name in enumerate(columns)
    ]
    blocks = [list(range(len(columns)))] if wide else _blocks(lengths, console.width)
    others = sum(lengths[one] + _APART for one, name in enumerate(columns) if name != wide)
    longest = console.width // 4 if others + _NARROWEST > console.width else console.width
    for part, block in enumerate(blocks):
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _APART, 0, 0))
        for number in block:
            is_wrapped = columns[number] == wide or lengths[number] > longest
            table.add_column(columns[number], no_wrap=not is_wrapped, overflow="fold")
        for row in cells:
            table.add_row(*(row[number] for number in block))
        if part:
            console.print()
        console.print(table)


def _blocks(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Return the columns of each part of a table, which all begin with the first.

    >>> _blocks([4, 6, 6, 6], 20)
    [[0, 1, 2], [0, 3]]
    """
    blocks: list[list[int]] = [[0]]
    for number in range(1, len(lengths)):
        taken = sum(lengths[one] + _APART for one in blocks[-1])
        if len(blocks[-1]) > 1 and taken + lengths[number] > room:
            blocks.append([0])
        blocks[-1].append(number)
    return blocks


@dataclass
class Bar:
    """A progress bar over images, which may be partly done."""

    progress: Progress
    task: Any

    def update(self, done: float) -> None:
        self.progress.update(self.task, completed=done)

    def stop(self) -> None:
        self.progress.stop()


@contextmanager
def progress_bar(total: int, doing: str = "running", console: Console = out) -> Iterator[Bar]:
    """Show a bar that disappears at the end; nothing if the output is not a terminal."""
    with Progress(
        TextColumn(doing),
        BarColumn(),
        MofNCompleteColumn(),
        # One picture may take minutes.
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stderr=err.is_terminal,
        disable=not console.is_terminal,
    ) as progress:
        yield Bar(progress, progress.add_task("", total=total))

"""The interface of a section: cells that are measured one after another in one process."""

from __future__ import annotations

import gc
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch

from benchmarks.cases.base import Row
from benchmarks.gpu.scope import Scope
from benchmarks.report.text import number, table

T = TypeVar("T")

LONGEST = 1.0
"""Seconds above which more rounds tell little, so that larger cells get what smaller ones leave."""


class Bench:
    """What the cells of one process share: the scope, the time, and the last thing made.

    Args:
        scope: what is measured.
        seconds: how long the process may take.
        cells: number of cells to measure.
        shortest: seconds that a cell gets even where no time is left for it.
    """

    def __init__(self, scope: Scope, seconds: float, cells: int, shortest: float) -> None:
        self.scope = scope
        self.shortest = shortest
        self._end = time.perf_counter() + seconds
        self._left = cells
        self._key: Any = None
        self._kept: Any = None

    @property
    def is_over(self) -> bool:
        """Whether no time is left for another cell."""
        return time.perf_counter() >= self._end

    def next_cell(self) -> float:
        """Return the seconds of the next cell: its share of what is left."""
        share = (self._end - time.perf_counter()) / self._left
        self._left -= 1
        return min(max(share, self.shortest), max(LONGEST, self.shortest))

    def kept(self, key: Any, make: Callable[[], T]) -> T:
        """Return what was made for a key; another key drops it first, so that memory is free."""
        if key != self._key:
            self._key = self._kept = None
            gc.collect()
            torch.cuda.empty_cache()  # Does nothing without a GPU.
            self._kept, self._key = make(), key
        return self._kept


class Section(ABC):
    """One group of targets. Final classes only.

    Attributes:
        share: its share of a run's time.
        shortest: seconds that a cell gets even where no time is left for it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    share: ClassVar[float]
    shortest: ClassVar[float] = 2.0
    how: ClassVar[str] = (
        "All sides alternate in one process; times are medians over the rounds, ratios are medians"
        " of the ratio in each round."
    )

    @abstractmethod
    def cells(self, scope: Scope) -> list[Row]:
        """Return what is measured, the most important first."""

    def rows(self, cell: Row, scope: Scope) -> list[Row]:
        """Return the rows of a cell, without figures."""
        return [cell]

    @abstractmethod
    def measure(self, cell: Row, bench: Bench, seconds: float) -> list[dict[str, Any]]:
        """Return the figures of each row of a cell, within about so many seconds."""

    def tables(self, rows: Sequence[Row]) -> list[str]:
        """Return the lines of Markdown that show the rows."""
        told = [name for name in TELLING if any(name in row for row in rows)]
        sides = list(dict.fromkeys(side for row in rows for side in row.get("sides", {})))
        lines = ([*(str(row.get(name, "–")) for name in told), *_sides(row, sides)] for row in rows)
        return table([*told, *sides, "remark"], lines)


TELLING = (
    *("name", "network", "operation", "what", "precision", "dtype", "memory", "backend"),
    *("method", "batch"),
)
"""What tells a row from the others of its section."""


def _sides(row: Row, names: Sequence[str]) -> list[str]:
    remark = "not reached" if "not_reached" in row else row.get("error") or row.get("remark", "")
    return [*(_cell(row.get("sides", {}).get(name)) for name in names), remark]


def _cell(side: Mapping[str, Any] | None) -> str:
    if side is None or "ms" not in side:
        return "–" if side is None else str(side.get("wrong", "–"))
    ratio = f" ({number(side['ratio'])})" if "ratio" in side else ""
    return number(side["ms"]) + ratio

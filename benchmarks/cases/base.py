"""The interface of a benchmark case: one section of the results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from benchmarks.settings import Settings

Row = Mapping[str, Any]


class Case(ABC):
    """One section of the results. Final classes only."""

    name: ClassVar[str]
    title: ClassVar[str]
    how: ClassVar[str] = (
        "All sides alternate in one process; times are medians over the rounds, ratios are medians"
        " of the ratio in each round."
    )

    def missing(self, settings: Settings) -> str | None:
        """Return what the case needs and this machine lacks; the case is then skipped."""
        return None

    @abstractmethod
    def run(self, settings: Settings) -> Iterable[dict[str, Any]]:
        """Check and measure. Each row describes what was measured, with figures by side."""

    @abstractmethod
    def tables(self, rows: Sequence[Row]) -> list[str]:
        """Return the lines of Markdown that show the rows."""

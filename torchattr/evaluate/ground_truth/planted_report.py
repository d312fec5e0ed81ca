"""Which methods found what decides, where that is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from torchattr.evaluate.bootstrap import Interval, bootstrap_interval
from torchattr.evaluate.ground_truth.controls import CONTROLS
from torchattr.evaluate.ground_truth.figures import plot_matrix
from torchattr.evaluate.ground_truth.saving import drawing_of, saved
from torchattr.evaluate.ground_truth.text_table import TextTable, number
from torchattr.results import Entry
from torchattr.show import notebook, rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Verdict = Literal["found", "partly", "misses", "nothing", "–"]

FOUND = 0.8
PARTLY = 0.2
"""The least gain of each verdict."""

NAMES = "planted"

_VISIBLE = 0.01
"""The least width of an interval that two decimals show."""


@dataclass(frozen=True, eq=False)
class PlantedReport:
    """How much of each method's maps lies on what decides by construction.

    The gain of a map is `(share - area) / (1 - area)`: `share` is that of what decides in the
    absolute attribution beyond its minimum, which tells no place from another; `area` is that in
    the picture. 1 is all of it, 0 what a map without relation has, below 0 less than that. A map
    that is the same everywhere has nothing to share, and its gain is 0.

    Attributes:
        methods: the rows: methods, then the controls in brackets.
        plants: what decides in each case, as a sentence, by the case's name.
        gains: `(N, methods, cases)`; NaN where a method has no maps, or the same for all channels
            where these are what counts.
        shown: the share of maps that show anything, `(methods, cases)`.
        refused: why a method has no maps, by its name and the case's.
        settings: what bounds the cost of some methods, by name.
        seed: of the pictures.
    """

    ENTRIES: ClassVar[tuple[str, ...]] = ("report",)
    """The names of what is saved."""

    methods: Sequence[str]
    plants: Mapping[str, str]
    gains: Tensor
    shown: Tensor
    refused: Mapping[tuple[str, str], str]
    settings: Mapping[str, str]
    seed: int

    @cached_property
    def intervals(self) -> Interval:
        """The mean gain of each method in each case, `(methods, cases)`, by bootstrap."""
        return bootstrap_interval(self.gains)

    def verdict(self, method: str, plant: str) -> Verdict:
        """Return what a method did in a case, by its mean gain.

        `"found"` from 0.8 on, `"partly"` from 0.2 on, else `"misses"`; `"nothing"` if its maps
        are zero everywhere, and `"–"` if it has none that could tell.

        Raises:
            KeyError: no such method or case.
        """
        row, column = self._place(method, plant)
        gain = float(self.intervals.value[row, column])
        if gain != gain:
            return "–"
        if float(self.shown[row, column]) == 0:
            return "nothing"
        return "found" if gain >= FOUND else "partly" if gain >= PARTLY else "misses"

    @property
    def ranking(self) -> list[str]:
        """The rows by the number of cases that they found, then by their mean gain."""
        means = self.intervals.value.nanmean(1).nan_to_num(-1)
        found = [
            sum(self.verdict(name, plant) == "found" for plant in self.plants)
            for name in self.methods
        ]
        keys = {
            name: (-count, -mean)
            for name, count, mean in zip(self.methods, found, means.tolist(), strict=True)
        }
        return sorted(self.methods, key=keys.__getitem__)

    def table(self) -> TextTable:
        """Return the verdict and the mean gain with its interval of each method in each case."""
        rows = [
            [name, *(self._cell(name, plant) for plant in self.plants)] for name in self.ranking
        ]
        return TextTable(["method", *self.plants], rows)

    def tables(self) -> dict[str, TextTable]:
        """Return the tables by title."""
        return {"What methods find that decides by construction": self.table()}

    def notes(self) -> Iterator[str]:
        """Yield what a reader of the table must know, as sentences."""
        yield (
            f"Over {len(self.gains)} pictures of seed {self.seed}: found, partly or misses what"
            " decides, and the gain: 1 if all attribution is there, 0 if no more than by chance,"
            " with its 95% interval where it has any width; nothing: zero everywhere; –: no map"
            " that could tell. Rows in brackets are maps that know nothing of the network."
        )
        yield from (f"{name}: {what}" for name, what in self.plants.items())
        if self.settings:
            listed = "; ".join(f"{name}: {text}" for name, text in self.settings.items())
            yield f"Bounded: {listed}."

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the mean gains as a heat map; `None` creates a figure."""
        rows = [self.methods.index(name) for name in self.ranking]
        size = (3 + 0.6 * len(self.plants), 1.5 + 0.22 * len(rows))
        values = self.intervals.value[rows]
        return plot_matrix(self.ranking, list(self.plants), values, size, ("Blues", 0, 1), ax)

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the single values as plain data, for JSON."""
        return {
            "pictures": NAMES,
            "seed": self.seed,
            "methods": list(self.methods),
            "plants": dict(self.plants),
            "gains": self.intervals.as_dict(),
            "verdicts": {
                name: {plant: self.verdict(name, plant) for plant in self.plants}
                for name in self.methods
            },
            "settings": dict(self.settings),
            "refused": {
                f"{method}, {plant}": reason for (method, plant), reason in self.refused.items()
            },
        }

    def entries(self) -> list[Entry]:
        """Return the report as a folder takes it."""
        arrays = {"gains": self.gains.numpy()}
        (name,), title = self.ENTRIES, "Planted truth"
        drawn = drawing_of(self.plot())
        return [Entry(name, drawn, arrays, self.as_dict(), NAMES, title, text=str(self))]

    def save(self, out: str | Path, overwrite: bool = False) -> list[Path]:
        """Write the table, the figure, the values and a manifest; return the files.

        Raises:
            FolderError: the folder cannot be written, or holds a file of another origin.
        """
        return saved(self.entries(), out, overwrite)

    def __str__(self) -> str:
        tables = (f"{title}\n{table}" for title, table in self.tables().items())
        return "\n\n".join([*tables, "\n".join(self.notes())])

    def __repr__(self) -> str:
        own = [name for name in self.methods if name not in CONTROLS]
        return f"PlantedReport({len(own)} methods × {', '.join(self.plants)})"

    def _repr_html_(self) -> str:
        return notebook(self, lambda: [("gains", rendered(self.plot()))])

    def _place(self, method: str, plant: str) -> tuple[int, int]:
        for name, known in ((method, list(self.methods)), (plant, list(self.plants))):
            if name not in known:
                raise KeyError(f"{name!r} is not in the report; there are: {', '.join(known)}")
        return list(self.methods).index(method), list(self.plants).index(plant)

    def _cell(self, method: str, plant: str) -> str:
        verdict = self.verdict(method, plant)
        if verdict in ("–", "nothing"):
            return verdict
        gain = self.intervals[self._place(method, plant)]
        is_wide = bool(gain.high - gain.low >= _VISIBLE)
        return f"{verdict} {gain if is_wide else number(float(gain.value))}"


def gains_of(maps: Tensor, truth: Tensor) -> Tensor:
    """Return the gain of each map, `(N,)`; NaN where channels count and the map has none.

    The least absolute value is subtracted first, since what all elements have tells none apart.

    Args:
        maps: `(N, C or 1, h, w)` of any size that divides that of the truth.
        truth: what decides, bools `(N, C or 1, H, W)`.
    """
    sizes = maps.detach().double().abs()
    sizes = torch.nn.functional.interpolate(sizes, truth.shape[2:], mode="nearest-exact")
    if truth.shape[1] > 1 and _is_the_same_in_all_channels(sizes):
        return torch.full((len(maps),), torch.nan, dtype=torch.float64)
    if truth.shape[1] == 1:
        sizes = sizes.sum(1, keepdim=True)
    sizes = sizes - sizes.amin((1, 2, 3), keepdim=True)
    total = sizes.flatten(1).sum(1)
    share = (sizes * truth).flatten(1).sum(1) / total
    area = truth.double().flatten(1).mean(1)
    return torch.where(total > 0, (share - area) / (1 - area), 0.0)


def _is_the_same_in_all_channels(sizes: Tensor) -> bool:
    spread = sizes.amax(1) - sizes.amin(1)
    return bool((spread <= 1e-6 * sizes.amax(1)).all())

"""What a benchmark found: the table, the ranking, and how far the metrics agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from torchattr.evaluate.bootstrap import Interval, bootstrap_interval, quantiles, resampled_means
from torchattr.evaluate.ground_truth.controls import CONTROLS
from torchattr.evaluate.ground_truth.figures import plot_agreement, plot_ranks
from torchattr.evaluate.ground_truth.metrics import MapMetric
from torchattr.evaluate.ground_truth.saving import (
    drawing_of,
    saved,
    without_nan,
)
from torchattr.evaluate.ground_truth.text_table import TextTable, number
from torchattr.evaluate.ranks import chance_correlation, correlation, midranks
from torchattr.results import Entry
from torchattr.show import notebook, rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RANKED = ("localisation", "faithfulness")
"""The groups of metrics that the ranking is over; how simple maps are is not about truth."""

FEWEST = 3
"""The least number of methods whose order two metrics can agree on."""

LISTED = 5
"""Pictures that were left out of which notes name the reason."""

LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Benchmark:
    """What metrics say of methods, on pictures whose objects are known.

    Attributes:
        pictures: their name.
        methods: the rows: methods, then the controls in brackets.
        metrics: the columns.
        values: what each metric says of each map, `(N, methods, metrics)`; NaN where it is
            undefined, as a rank is for a constant map.
        refused: why methods were left out, by name.
        settings: what bounds the cost of some methods, by name.
        seed: of the pictures; `None` if they were given.
        left_out: why pictures were left out, by name.
        remarks: further sentences for a reader of the table.
    """

    ENTRIES: ClassVar[tuple[str, ...]] = ("ranking", "agreement")
    """The names of what is saved."""

    pictures: str
    methods: Sequence[str]
    metrics: Sequence[MapMetric]
    values: Tensor
    refused: Mapping[str, str]
    settings: Mapping[str, str]
    seed: int | None
    left_out: Mapping[str, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()

    @cached_property
    def intervals(self) -> Interval:
        """The mean of each metric for each method, `(methods, metrics)`, by bootstrap."""
        return bootstrap_interval(self.values, level=LEVEL, resamples=RESAMPLES)

    @cached_property
    def ranks(self) -> Interval:
        """The mean rank of each row, `(methods)`: 1 is the best.

        In each metric rows are ranked by their means; ranks are averaged over the metrics of
        localisation and over those of faithfulness, and then over these two. The bounds are those
        of the pictures drawn anew. NaN where no metric is of either kind.
        """
        means = resampled_means(self.values, resamples=RESAMPLES)
        drawn = self._mean_ranks(means)
        count = torch.full((len(self.methods),), len(self.values))
        low, high = (quantiles(drawn, share) for share in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
        return Interval(self._mean_ranks(self.intervals.value[None])[0], low, high, count, LEVEL)

    @property
    def ranking(self) -> list[str]:
        """The rows from the best mean rank to the worst."""
        order = self.ranks.value.argsort(stable=True)
        return [self.methods[int(index)] for index in order]

    @cached_property
    def agreement(self) -> Tensor:
        """Spearman's correlation of each two metrics over the methods, `(metrics, metrics)`.

        Of the methods' means, each turned so that higher is better; 1 is the same order, 0 none,
        -1 the opposite. NaN where a metric sees no difference, and for fewer than three methods.
        """
        means = self._compared.T
        if means.shape[1] < FEWEST:
            return torch.full((len(self.metrics),) * 2, torch.nan, dtype=torch.float64)
        found, is_defined = correlation(means[:, None], means[None], "spearman")
        return found.masked_fill(~is_defined, torch.nan)

    def table(self) -> TextTable:
        """Return the means, and the rank with its interval, in the order of the ranking."""
        rows = [
            [name, _ranked(self.ranks[row]), *map(number, self.intervals.value[row].tolist())]
            for name in self.ranking
            for row in [self.methods.index(name)]
        ]
        return TextTable(["method", "mean rank", *(metric.title for metric in self.metrics)], rows)

    def agreement_table(self) -> TextTable:
        """Return the correlations of the metrics."""
        names = [metric.name for metric in self.metrics]
        rows = zip(names, self.agreement.tolist(), strict=True)
        return TextTable(["", *names], [[name, *map(number, row)] for name, row in rows])

    def tables(self) -> dict[str, TextTable]:
        """Return the tables by title."""
        ranking = {f"Methods on {self.pictures}": self.table()}
        if self.agreement.isnan().all():
            return ranking
        title = f"Rank correlation of the metrics over {len(self._compared)} methods"
        return {**ranking, title: self.agreement_table()}

    def notes(self) -> Iterator[str]:
        """Yield what a reader of the table must know, as sentences."""
        seeded = "" if self.seed is None else f" of seed {self.seed}"
        yield (
            f"Means over {len(self.values)} pictures{seeded}; arrows point to where a"
            f" metric is better. Mean rank: that over the metrics, 1 is the best, with its"
            f" {LEVEL:.0%} interval; methods whose intervals overlap are not told apart. Rows in"
            " brackets are maps that know nothing of the model."
        )
        if not self.agreement.isnan().all():
            yield self._agreement_note
        if self.settings:
            listed = "; ".join(f"{name}: {text}" for name, text in self.settings.items())
            yield f"Bounded: {listed}."
        if measured := [f"{one.name}: {one.setting}" for one in self.metrics if one.setting]:
            yield f"Measured with: {'; '.join(measured)}."
        for name, reason in self.refused.items():
            yield f"Left out: {name}, {reason}"
        yield from self.remarks
        for name, reason in islice(self.left_out.items(), LISTED):
            yield f"Left out: {name}, {reason}"
        if len(self.left_out) > LISTED:
            yield f"Left out: {len(self.left_out) - LISTED} more pictures"

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the mean rank of each row with its interval; `None` creates a figure."""
        return plot_ranks(self.methods, self.ranks, ax)

    def plot_agreement(self, ax: Axes | None = None) -> Axes:
        """Draw the correlations of the metrics as a heat map; `None` creates a figure."""
        axes = plot_agreement([metric.name for metric in self.metrics], self.agreement, ax)
        axes.set_xlabel(f"rank correlation over {len(self._compared)} methods")
        return axes

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the single values as plain data, for JSON."""
        return {
            "pictures": self.pictures,
            "seed": self.seed,
            "methods": list(self.methods),
            "metrics": [metric.name for metric in self.metrics],
            "better": [metric.is_better for metric in self.metrics],
            "means": self.intervals.as_dict(),
            "ranks": self.ranks.as_dict(),
            "agreement": without_nan(self.agreement.tolist()),
            "agreement_methods": len(self._compared),
            "settings": dict(self.settings),
            "refused": dict(self.refused),
            "left_out": dict(self.left_out),
        }

    def entries(self) -> list[Entry]:
        """Return the ranking with all values, and the agreement, as a folder takes them."""
        arrays = {"values": self.values.numpy()}
        ranking, agreement = self.ENTRIES
        return [
            Entry(
                ranking,
                drawing_of(self.plot()),
                arrays,
                self.as_dict(),
                self.pictures,
                f"Ranking on {self.pictures}",
                text=str(self),
            ),
            Entry(
                agreement,
                drawing_of(self.plot_agreement()),
                {"agreement": self.agreement.numpy()},
                {},
                self.pictures,
                "Agreement of the metrics",
                text=f"{self.agreement_table()}\n\n{self._agreement_note}",
            ),
        ]

    def save(self, out: str | Path, overwrite: bool = False) -> list[Path]:
        """Write tables, figures, values and a manifest into a folder; return the files.

        Raises:
            FolderError: the folder cannot be written, or holds a file of another origin.
        """
        return saved(self.entries(), out, overwrite)

    def __str__(self) -> str:
        tables = (f"{title}\n{table}" for title, table in self.tables().items())
        return "\n\n".join([*tables, "\n".join(self.notes())])

    def __repr__(self) -> str:
        best = ", ".join(self.ranking[:3])
        return (
            f"Benchmark({self.pictures}: {len(self.methods)} methods × {len(self.metrics)} metrics,"
            f" {len(self.values)} pictures; best {best})"
        )

    def _repr_html_(self) -> str:
        return notebook(
            self,
            lambda: [
                ("ranking", rendered(self.plot())),
                ("agreement", rendered(self.plot_agreement())),
            ],
        )

    @cached_property
    def _compared(self) -> Tensor:
        """The turned means of the methods that have a value of each metric."""
        own = [index for index, name in enumerate(self.methods) if name not in CONTROLS]
        means = self._oriented(self.intervals.value[own])
        return means[~means.isnan().any(1)]

    @property
    def _agreement_note(self) -> str:
        """How much the correlations of the metrics can be relied on, as a sentence."""
        methods = len(self._compared)
        if methods < FEWEST:
            return f"Rank correlations need {FEWEST} methods or more, and there are {methods}."
        bound = number(chance_correlation(methods, LEVEL))
        return (
            f"Rank correlations rest on {methods} methods: over so many, metrics that have nothing"
            f" to do with each other correlate by up to ±{bound} in {LEVEL:.0%} of cases."
        )

    def _oriented(self, means: Tensor) -> Tensor:
        signs = torch.tensor([metric.sign for metric in self.metrics], dtype=means.dtype)
        return means * signs

    def _mean_ranks(self, means: Tensor) -> Tensor:
        """Return the mean ranks `(..., methods)` of means `(..., methods, metrics)`."""
        worst_last = (-self._oriented(means)).nan_to_num(torch.inf).movedim(-1, -2)
        ranks = midranks(worst_last)
        groups = [metric.group for metric in self.metrics]
        of_groups = [
            ranks[..., [at for at, own in enumerate(groups) if own == group], :].mean(-2)
            for group in RANKED
            if group in groups
        ]
        if not of_groups:
            return torch.full_like(ranks[..., 0, :], torch.nan)
        return torch.stack(of_groups).mean(0)


def _ranked(rank: Interval) -> str:
    if bool(rank.value.isnan()):
        return "–"
    return f"{rank.value:.1f} [{rank.low:.1f}, {rank.high:.1f}]"

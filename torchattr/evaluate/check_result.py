"""The result of a sanity check: a table, a figure and sentences for each method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

from torchattr.errors import Message
from torchattr.evaluate.bootstrap import Interval
from torchattr.evaluate.findings import ALIKE, CRITERIA, RANDOM_LAYERS, Criterion, Finding
from torchattr.evaluate.randomisation import Randomisation
from torchattr.show import notebook, plot_dots, rendered

if TYPE_CHECKING:
    from matplotlib.figure import Figure


UNDECIDED = "undecided"
"""Instead of a count, which of too few pictures would be 0 and look like a failure."""


@dataclass(frozen=True, eq=False)
class Check:
    """What sanity checks found of several methods.

    `str()` is the table with a sentence for each finding; `check["saliency"]["edges"]` is one of
    them.

    Attributes:
        findings: of each method, in the order of the questions.
        measures: what was measured on each picture, `(N, ...)` by question and method.
        randomisation: the similarities over randomised layers.
        curves: their means over the pictures, with intervals, by method.
        pictures: the number of pictures.
        refused: why methods were left out, by name.
    """

    findings: Sequence[Finding]
    measures: Mapping[str, Mapping[str, Tensor]]
    randomisation: Randomisation
    curves: Mapping[str, Interval]
    pictures: int
    refused: Mapping[str, Message] = field(default_factory=dict)

    @property
    def methods(self) -> tuple[str, ...]:
        """The names of the methods that were checked."""
        return tuple(dict.fromkeys(finding.method for finding in self.findings))

    def __getitem__(self, method: str) -> Mapping[str, Finding]:
        found = {one.criterion.key: one for one in self.findings if one.method == method}
        if not found:
            raise KeyError(f"{method!r} was not checked; there are: {', '.join(self.methods)}")
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.methods)

    def __len__(self) -> int:
        return len(self.methods)

    @property
    def columns(self) -> list[str]:
        """The headings of the table."""
        return ["method", *(criterion.title for criterion in CRITERIA), "passed"]

    @property
    def rows(self) -> list[list[str]]:
        """A row of the table for each method: the value and the verdict of each question."""
        return [[name, *self._cells(name), self._passed(name)] for name in self]

    def sentences(self, method: str) -> list[str]:
        """Return what was found of a method, a sentence for each question."""
        return [f"{finding.sentence}." for finding in self[method].values()]

    def verdict(self, method: str) -> str:
        """Return a method's result in a sentence: what it passed, failed, and left open.

        >>> from torchattr.evaluate.bootstrap import bootstrap_interval
        >>> from torchattr.evaluate.findings import EDGES, found
        >>> one = found("saliency", EDGES, bootstrap_interval([0.1] * 10))
        >>> Check([one], {}, None, {}, 10).verdict("saliency")
        'saliency: passed 1 of 1'
        """
        by_verdict = {
            word: [one.criterion.title for one in self[method].values() if one.verdict == key]
            for key, word in (("fail", "failed"), ("unclear", "unclear"))
        }
        said = [f"{word}: {', '.join(titles)}" for word, titles in by_verdict.items() if titles]
        decided = self._passed(method)
        first = decided if decided == UNDECIDED else f"passed {decided}"
        return "; ".join([f"{method}: {first}", *said])

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as for JSON."""
        return {
            "pictures": self.pictures,
            "findings": [finding.as_dict() for finding in self.findings],
            "layers": list(self.randomisation.layers),
            "random_layers": list(self.randomisation.counts),
            "curves": {name: curve.as_dict() for name, curve in self.curves.items()},
            "refused": {name: str(reason) for name, reason in self.refused.items()},
        }

    def plot(self, method: str, figure: Figure | None = None) -> Figure:
        """Draw a method's curve over randomised layers, its similarities and its deletion areas.

        A dashed line is the bound that a question compares with; which side of it is good, is
        written at the curve's axis, and beside each similarity.

        figure: an empty Matplotlib figure to draw on; None creates one.
        """
        from matplotlib.figure import Figure

        drawn = Figure(figsize=(12, 4.2), layout="constrained") if figure is None else figure
        curve, alike, gains = drawn.subplots(1, 3, width_ratios=(3, 2, 2))
        self.randomisation.drawn({method: self.curves[method]}, curve)
        curve.axhline(ALIKE, color="0.6", linewidth=0.8, linestyle="--", zorder=0)
        curve.set_ylim(min(-0.1, curve.get_ylim()[0]), 1.02)
        side = _side(RANDOM_LAYERS, "above", "below")
        curve.set_ylabel(f"{curve.get_ylabel()}\n{side} the line is good")
        found = [one for one in self[method].values() if one.criterion.key != RANDOM_LAYERS.key]
        _dots([one for one in found if one.criterion.is_similarity], alike, with_side=True)
        alike.axvline(ALIKE, color="0.6", linewidth=0.8, linestyle="--", zorder=0)
        alike.set_xlim(min(-0.1, alike.get_xlim()[0]), 1.02)
        alike.set_xlabel("similarity")
        _dots([one for one in found if not one.criterion.is_similarity], gains)
        gains.set_xlabel("gain in deletion area (right is better)")
        drawn.suptitle(self.verdict(method), fontsize=11)
        return drawn

    def __str__(self) -> str:
        sentences = [line for name in self for line in self.sentences(name)]
        refused = [f"{name} was left out: {reason}" for name, reason in self.refused.items()]
        return "\n".join([*_aligned([self.columns, *self.rows]), "", *sentences, *refused])

    def __repr__(self) -> str:
        passed = ", ".join(f"{name} {self._passed(name)}" for name in self)
        return f"Check({self.pictures} pictures; passed: {passed})"

    def _repr_html_(self) -> str:
        return notebook(self, lambda: [(name, self._picture(name)) for name in self])

    def _picture(self, method: str) -> Any:
        return rendered(self.plot(method).axes[0])

    def _cells(self, method: str) -> list[str]:
        return [self[method][criterion.key].cell for criterion in CRITERIA]

    def _passed(self, method: str) -> str:
        verdicts = [one.verdict for one in self[method].values()]
        decided = verdicts.count("pass") + verdicts.count("fail")
        return f"{verdicts.count('pass')} of {decided}" if decided else UNDECIDED


_COLOURS = {"pass": "tab:green", "fail": "tab:red", "unclear": "0.5", "undefined": "0.5"}


def _side(criterion: Criterion, higher: str, lower: str) -> str:
    """Return the word of the side of its bound that a criterion asks for."""
    return higher if criterion.higher else lower


def _dots(findings: Sequence[Finding], axes: Any, *, with_side: bool = False) -> None:
    sides = [_side(one.criterion, "right", "left") for one in findings]
    titles = [
        f"{one.criterion.title}\n({side} is good)" if with_side else one.criterion.title
        for one, side in zip(findings, sides, strict=True)
    ]
    rows = [
        (title, one.interval.value, one.interval.low, one.interval.high)
        for title, one in zip(titles, findings, strict=True)
    ]
    plot_dots(rows, axes, [_COLOURS[one.verdict] for one in findings])


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table with a rule below its headings."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return [lines[0], "─" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]]

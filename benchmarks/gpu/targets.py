"""The targets of a GPU, and what was measured of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.cases.base import Row
from benchmarks.gpu.scope import BACKENDS, PRECISIONS
from benchmarks.gpu.sections.base import TELLING
from benchmarks.gpu.sections.kernels import NAMES
from benchmarks.report.targets import Target, figure_of
from benchmarks.report.text import number, table
from benchmarks.tasks import TITLES

Figure = tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What was measured of one target.

    Attributes:
        worst: the worst figure and its row; `None` if there is none.
        measured: number of rows with a figure.
        missed: number of these that miss the bound.
        errors: why rows have no figure.
        unmatched: number of rows without a figure only because the other side has none.
        not_reached: number of rows that no time was left for.
    """

    worst: tuple[float, Row] | None
    measured: int
    missed: int
    errors: Sequence[str]
    unmatched: int
    not_reached: int

    def __str__(self) -> str:
        """Say whether it passes, and what was not reached."""
        parts = [
            (self.missed, f"{self.missed} of {self.measured} miss it"),
            (self.errors, f"{len(self.errors)} with errors: {next(iter(self.errors), '')}"),
            (self.unmatched, f"{self.unmatched} where Captum has no result"),
            (self.not_reached, f"{self.not_reached} not reached"),
        ]
        return "; ".join([self._verdict, *(text for count, text in parts if count)])

    @property
    def _verdict(self) -> str:
        if self.missed or self.errors:
            return "fail"
        return "pass" if self.measured else "not measured"


def outcome(target: Target, sections: Mapping[str, Any]) -> Outcome:
    """Return what was measured of a target."""
    rows = sections.get(target.case, {}).get("rows", ())
    found = [
        (figure_of(row, target.figure), row) for row in rows if target.rests_on(target.case, row)
    ]
    known = [(value, row) for value, row in found if value is not None]
    others = [row for value, row in found if value is None and "not_reached" not in row]
    errors = [why for why in map(_error, others) if why is not None]
    choose: Callable[..., Any] = min if target.at_least else max
    return Outcome(
        choose(known, key=lambda one: one[0]) if known else None,
        len(known),
        sum(not target.is_met(value) for value, _ in known),
        errors,
        len(others) - len(errors),
        sum("not_reached" in row for _, row in found),
    )


def _error(row: Row) -> str | None:
    """Return why torchattr has no figure in a row; `None` if it has one, unlike the other side."""
    own = [side for name, side in row.get("sides", {}).items() if name in ("torchattr", "prepared")]
    return row.get("error") or next((side["wrong"] for side in own if "wrong" in side), None)


def as_table(sections: Mapping[str, Any]) -> list[str]:
    """Return all targets of the sections that were run, with the worst figures."""
    lines = [_line(one, outcome(one, sections)) for one in TARGETS if one.case in sections]
    return table(["target", "bound", "measured", "where", ""], lines)


def _line(target: Target, found: Outcome) -> list[str]:
    bound = f"{'≥' if target.at_least else '≤'} {number(target.limit)}"
    if found.worst is None:
        return [target.what, bound, "–", "–", str(found)]
    value, row = found.worst
    return [target.what, bound, f"{value:.3g}", _where(row), str(found)]


def _where(row: Row) -> str:
    """Return what tells a row from others of its section."""
    return ", ".join(str(row[name]) for name in TELLING if name in row)


_POOLS = tuple(name for name in NAMES if name.startswith("max_pool"))
_OTHERS = tuple(name for name in NAMES if name not in _POOLS)
_OF_CAPTUM = {1: 1.0, 8: 1.0, 16: 1.0, 32: 1.0, 64: 1.0, 256: 0.9}
_PREPARED = {(1, "float32"): 0.3, (8, "float32"): 0.7, (64, "float32"): 0.85, (64, "bfloat16"): 0.6}
_FASTER = {"vgg16": 6.0, "resnet18": 2.0, "resnet50": 2.0}
_SHARED = {"five methods": 0.45, "grad-cam for 100 classes": 1 / 50}
_OF_CAPTUMS_TIME = ("sides", "captum", "ratio")


def _target(
    what: str, limit: float, section: str, where: Row, figure: Figure, at_least: bool
) -> Target:
    return Target(what, limit, f"gpu-{section}", where, figure, "cuda", at_least)


def _most(what: str, limit: float, section: str, figure: Figure, /, **where: Any) -> Target:
    return _target(what, limit, section, where, figure, at_least=False)


def _least(what: str, limit: float, section: str, figure: Figure, /, **where: Any) -> Target:
    return _target(what, limit, section, where, figure, at_least=True)


TARGETS: tuple[Target, ...] = (
    *(
        _most(
            f"gradient methods, {precision}, batch {batch}: of Captum's time",
            limit,
            "methods",
            _OF_CAPTUMS_TIME,
            precision=precision,
            batch=batch,
        )
        for precision in PRECISIONS
        for batch, limit in _OF_CAPTUM.items()
    ),
    *(
        _most(
            f"prepared, {precision}, batch {batch}: of Captum's time",
            limit,
            "prepared",
            ("sides", "captum", "ratio"),
            precision=precision,
            batch=batch,
        )
        for (batch, precision), limit in _PREPARED.items()
    ),
    *(
        _most(f"{name}: of Captum's time", limit, "sharing", _OF_CAPTUMS_TIME, name=name)
        for name, limit in _SHARED.items()
    ),
    _most(
        "peak memory of an image, lean: of Captum's",
        1 / 8,
        "memory",
        ("sides", "captum", "peak_ratio"),
    ),
    *(
        _least(
            f"{backend} kernels, {what}",
            limit,
            "kernels",
            (figure,),
            backend=backend,
            operation=names,
        )
        for backend in BACKENDS
        for what, limit, figure, names in (
            ("all but pools: share of a copy", 0.9, "of_copy", _OTHERS),
            ("max-pools: share of a copy", 0.85, "of_copy", _POOLS),
            ("all: speed, of eager PyTorch's", 2.0, "faster_than_eager", NAMES),
        )
    ),
    *(
        _least(
            f"occlusion 16/8, {TITLES[network]}: Captum's time, of torchattr's",
            limit,
            "incremental",
            ("sides", "captum", "times"),
            network=network,
            what="16/8",
        )
        for network, limit in _FASTER.items()
    ),
    *(
        _least(
            f"occlusion, every network and window: {words} time, of torchattr's",
            1.0,
            "incremental",
            ("sides", side, "times"),
        )
        for side, words in (("captum", "Captum's"), ("dense", "whole forwards'"))
    ),
)

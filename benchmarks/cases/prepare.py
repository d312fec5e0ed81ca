"""Prepared models: against Captum, and against the same model unprepared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torchattr as ta
from benchmarks.cases.base import Case, Row
from benchmarks.measure.agreement import judge
from benchmarks.measure.head_to_head import head_to_head
from benchmarks.peers import OURS, PEERS
from benchmarks.report.text import number, say, table, timed
from benchmarks.settings import Settings
from benchmarks.tasks import GRADIENT_METHODS, Subject

NETWORKS = ("resnet50", "googlenet")
PREPARED = (*GRADIENT_METHODS, "GuidedGradCAM")
SIDES = ("prepared", "torchattr", "captum")
LOWER = "bfloat16"


class Prepare(Case):
    name = "prepare"
    title = "Prepared models"

    def run(self, settings: Settings) -> list[dict[str, Any]]:
        rows = []
        for name in NETWORKS:
            subject = Subject.of(name, settings.size, settings.device)
            for batch in (1, settings.batch):
                rows += of_batch(subject, batch, settings)
        return rows

    def tables(self, rows: Sequence[Row]) -> list[str]:
        exact = [row for row in rows if row.get("precision") == "float32"]
        reports = [row for row in rows if "report" in row]
        return [
            "Time in ms per image; in brackets the prepared model's time as a share of it. The"
            " prepared model was checked in float64 against the reference first.",
            "",
            *table(["network", "method", "batch", *SIDES], map(_cells, exact)),
            "The report of `prepare` in float32, and its time and accuracy under autocast:",
            "",
            *table(["network", "batch", "gates flipped", "output", LOWER], map(_said, reports)),
        ]


def of_batch(subject: Subject, batch: int, settings: Settings) -> Iterator[dict[str, Any]]:
    shown = subject.task("Saliency", batch).images
    fast = ta.prepare(subject.model, shown)
    wide = subject.exact
    exact = ta.prepare(wide.model, wide.task("Saliency", batch).images)
    for method in PREPARED:
        yield of_method(subject, fast, exact, method, batch, settings)
    yield of_report(subject, fast, batch, settings)


def of_method(
    subject: Subject, fast: Any, exact: Any, method: str, batch: int, settings: Settings
) -> dict[str, Any]:
    """Check every side, then time the correct ones."""
    task, wide = subject.task(method, batch), subject.exact.task(method, 1)
    libraries = {"prepared": OURS, "torchattr": OURS, "captum": PEERS[0]}
    sides: dict[str, dict[str, Any]] = {}
    runs = {}
    for side, library in libraries.items():
        on = exact if side == "prepared" else None
        verdict = judge(library, wide, model=on)
        sides[side] = {"difference": verdict.difference}
        if verdict.wrong:
            sides[side]["wrong"] = verdict.wrong
        else:
            own = task.on(fast) if side == "prepared" else task.on_own_model()
            runs[side] = library.run(own)
    measured = head_to_head(runs, settings, all_rounds=not settings.quick)
    for side, figures in measured.figures("prepared", batch).items():
        if "ratio" in figures:
            figures["prepared_ratio"] = figures["ratio"]
        sides[side] |= figures
    row = {
        "network": subject.name,
        "method": method,
        "batch": batch,
        "precision": "float32",
        "rounds": measured.rounds,
        "sides": sides,
    }
    say("prepare", row["network"], method, batch, *(f"{n} {timed(s)}" for n, s in sides.items()))
    return row


def of_report(subject: Subject, fast: Any, batch: int, settings: Settings) -> dict[str, Any]:
    """Return the preparation report, and time guided backpropagation in lower precision."""
    task = subject.task("GuidedBackprop", batch)
    low = ta.prepare(subject.model, task.images, precision=LOWER)
    runs = {LOWER: OURS.run(task.on(low)), "prepared": OURS.run(task.on(fast))}
    measured = head_to_head(runs, settings)
    return {
        "network": subject.name,
        "batch": batch,
        "rounds": measured.rounds,
        "sides": measured.figures(LOWER, batch),
        "report": dict(fast.report.rows()),
        "error": str(low.report.maps["guided_backprop"]),
    }


def _cells(row: Row) -> list[str]:
    return [
        row["network"],
        row["method"],
        str(row["batch"]),
        *(timed(row["sides"].get(side)) for side in SIDES),
    ]


def _said(row: Row) -> list[str]:
    report, low = row["report"], row["sides"][LOWER]
    share = row["sides"]["prepared"].get("ratio")
    return [
        row["network"],
        str(row["batch"]),
        report["gates flipped"],
        report["output"],
        f"{timed(low)} ms, {number(share)} of float32's time; {row['error']}",
    ]

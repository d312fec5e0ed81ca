"""Each method on each network, against every library that has it and against the floor."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.cases.base import Case, Row
from benchmarks.measure.agreement import judge
from benchmarks.measure.head_to_head import head_to_head
from benchmarks.measure.memory import MIB, remembered_bytes, state
from benchmarks.measure.reference import reference
from benchmarks.peers import OURS, PEERS
from benchmarks.peers.base import Library
from benchmarks.peers.ours import Torchattr
from benchmarks.report.targets import rests_on
from benchmarks.report.text import number, say, table, timed
from benchmarks.settings import Settings
from benchmarks.tasks import GRADIENT_METHODS, METHODS, Run, Subject, Task, floor, inference

IMAGES_CHECKED = 2


class Methods(Case):
    name = "methods"
    title = "Methods"

    def run(self, settings: Settings) -> Iterator[dict[str, Any]]:
        for name in settings.networks:
            yield from of_network(name, settings)

    def tables(self, rows: Sequence[Row]) -> list[str]:
        lines = [
            "Time in ms per image; in brackets torchattr's time as a share of it. The floor is"
            " the forward, and the backward to the input, with frozen weights. Each library was"
            f" checked in float64 on {IMAGES_CHECKED} images first; a wrong one gets no time.",
            "",
        ]
        for method in METHODS:
            chosen = [row for row in rows if row["method"] == method]
            if chosen:
                lines += [f"### {method}", "", *_times(chosen)]
        return [*lines, "### Memory", "", *_memory(rows)]


def of_network(name: str, settings: Settings) -> Iterator[dict[str, Any]]:
    subject = Subject.of(name, settings.size, settings.device)
    for method in settings.methods:
        checked = _checked(subject, method)
        cost = 0.0
        for batch in settings.batches:
            row: dict[str, Any] = {"network": name, "method": method, "batch": batch}
            predicted = cost * batch
            if predicted > settings.longest_round and batch != settings.batch:
                row["left_out"] = f"a round would take about {predicted:.0f} s"
            else:
                row |= _cell(subject.task(method, batch), checked, settings, row)
                cost = sum(s.get("ms", 0.0) for s in row["sides"].values()) / 1e3
                gc.collect()  # TorchCAM's objects refer to themselves, and hold a graph.
            say(_told(row))
            yield row


def _checked(subject: Subject, method: str) -> dict[str, dict[str, Any]]:
    """Check every library that has the method; measure the saved bytes of the correct ones."""
    task = subject.exact.task(method, IMAGES_CHECKED)
    right = reference(task)
    found: dict[str, dict[str, Any]] = {}
    for library in _libraries(method):
        verdict = judge(library, task, right)
        entry = found[library.name] = {"difference": verdict.difference}
        if verdict.wrong:
            entry["wrong"] = verdict.wrong
        elif method != "FeatureAblation":
            run = library.lean if isinstance(library, Torchattr) else library.run
            entry["remembered_mib"] = _remembered(run, subject.task(method, 1))
    if method in GRADIENT_METHODS:
        found["floor"] = {"remembered_mib": _remembered(floor, subject.task(method, 1))}
    ours = found[OURS.name].get("remembered_mib")
    for entry in found.values():
        if ours and entry.get("remembered_mib"):
            entry["remembered_ratio"] = ours / entry["remembered_mib"]
    return found


def _remembered(make: Any, task: Task) -> float:
    own = task.on_own_model()
    return remembered_bytes(make(own), state(own.model)) / MIB


def _cell(
    task: Task, checked: dict[str, dict[str, Any]], settings: Settings, row: Row
) -> dict[str, Any]:
    batch = len(task.images)
    sides = {name: dict(entry) for name, entry in checked.items()}
    runs: dict[str, Run] = {}
    for library in _libraries(task.method):
        why = checked[library.name].get("wrong") or library.refusal(task.method, batch)
        if why:
            sides[library.name] = {"wrong": why}
        else:
            runs[library.name] = library.run(task.on_own_model())
    if task.method in GRADIENT_METHODS:
        runs["floor"] = floor(task.on_own_model())
    if task.method in ("Saliency", "GradCAM"):
        runs["inference"] = inference(task)
    measured = head_to_head(
        runs, settings, all_rounds=rests_on("methods", row) and not settings.quick
    )
    for name, figures in measured.figures(OURS.name, batch).items():
        sides[name] = {**sides.get(name, {}), **figures}
    return {"rounds": measured.rounds, "sides": sides}


def _libraries(method: str) -> list[Library]:
    return [library for library in (OURS, *PEERS) if method in library.makers]


def _told(row: Row) -> str:
    what = f"{row['network']} {row['method']} batch {row['batch']}:"
    if "left_out" in row:
        return f"{what} left out, {row['left_out']}"
    return f"{what} " + ", ".join(f"{name} {timed(side)}" for name, side in row["sides"].items())


def _times(rows: Sequence[Row]) -> list[str]:
    present = {name for row in rows for name in row.get("sides", {})}
    order = [OURS.name, "floor", "inference", *(peer.name for peer in PEERS)]
    columns = [name for name in order if name in present]

    def cells(row: Row) -> list[str]:
        first = [row["network"], str(row["batch"])]
        if "left_out" in row:
            return [*first, f"left out: {row['left_out']}", *[""] * (len(columns) - 1)]
        return [*first, *(timed(row["sides"].get(name)) for name in columns)]

    return table(["network", "batch", *columns], map(cells, rows))


def _memory(rows: Sequence[Row]) -> list[str]:
    measured = [row for row in rows if "sides" in row and row["method"] != "FeatureAblation"]
    first = min((row["batch"] for row in measured), default=1)
    peaks = sorted({row["batch"] for row in measured})[:2][-1:] or [first]
    names = [OURS.name, *(peer.name for peer in PEERS), "floor"]
    remembered = [row for row in measured if row["batch"] == first]
    at_once = [row for row in measured if row["batch"] == peaks[0]]
    return [
        "Remembered: MiB that autograd saves for the backward of one image, excluding the"
        " model's parameters and buffers. Captum's GuidedGradCAM makes two passes,"
        " one after the other; both are counted.",
        "",
        *_by_side(remembered, names, "remembered_mib"),
        f"Peak: maximum MiB of tensors that a call holds at once, at batch {peaks[0]}.",
        "",
        *_by_side(at_once, names, "peak_mib"),
    ]


def _by_side(rows: Sequence[Row], names: Sequence[str], figure: str) -> list[str]:
    return table(
        ["network", "method", *names],
        (
            [
                row["network"],
                row["method"],
                *(number(row["sides"].get(name, {}).get(figure)) for name in names),
            ]
            for row in rows
        ),
    )

"""The randomisation test of six methods against that of the dearest one of them alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.cases.base import Case, Row
from benchmarks.measure.agreement import difference
from benchmarks.measure.head_to_head import head_to_head
from benchmarks.peers.base import EXACT
from benchmarks.report.text import number, say, table, timed
from benchmarks.settings import Settings
from benchmarks.tasks import Subject, Task, quiet
from torchattr.evaluate import mprt

Methods = Mapping[str, Mapping[str, Any]]

_SHARED: Methods = {
    "saliency": {},
    "input_x_gradient": {},
    "guided_backprop": {},
    "grad_cam": {},
    "guided_grad_cam": {},
}
SETS: Mapping[str, Methods] = {
    "six methods": {**_SHARED, "integrated_gradients": {"n_steps": 20}},
    "six methods of one forward": {**_SHARED, "deconvolution": {}},
}
"""What is measured together. Of the first set, integrated gradients run more forwards than all
others; of the second, each needs one, so that only the backwards differ."""

NETWORK = "resnet18"
IMAGES = 2
STEPS = 3
CHECKED_SIZE = 64


class Randomisation(Case):
    name = "randomisation"
    title = "Randomisation tests"

    def run(self, settings: Settings) -> list[dict[str, Any]]:
        subject = Subject.of(NETWORK, settings.size, settings.device)
        return [_row(name, methods, subject, settings) for name, methods in SETS.items()]

    def tables(self, rows: Sequence[Row]) -> list[str]:
        text = (
            f"Time in ms of the cascading test in {STEPS} steps on {IMAGES} images; in brackets"
            " the time of the six methods as a share of it. That sharing forwards changes no"
            " similarity was checked in float64 first."
        )
        head = ["what", "network", "six, ms", "the dearest alone, ms", "which", "sum, ms", "rounds"]
        return [text, "", *table(head, map(_cells, rows))]


def _cells(row: Row) -> list[str]:
    six, alone = row["sides"]["torchattr"], row["sides"].get("dearest alone")
    return [
        row["name"],
        row["network"],
        timed(six),
        timed(alone),
        row.get("dearest", "–"),
        number(row.get("sum_ms")),
        str(row.get("rounds", "–")),
    ]


def _row(name: str, methods: Methods, subject: Subject, settings: Settings) -> dict[str, Any]:
    row = {"name": name, "network": NETWORK}
    wrong = _difference(methods, subject)
    if wrong > EXACT:
        return {**row, "sides": {"torchattr": {"wrong": f"sharing changes it by {wrong:.2g}"}}}
    task = subject.task(name, IMAGES)
    alone = {one: _seconds(_test(task, {one: of})) for one, of in methods.items()}
    dearest = max(alone, key=lambda one: alone[one])
    runs = {
        "torchattr": _test(task, methods),
        "dearest alone": _test(task, {dearest: methods[dearest]}),
    }
    measured = head_to_head(runs, settings, all_rounds=not settings.quick)
    sides = measured.figures("torchattr")
    say(f"{name}:", ", ".join(f"{side} {timed(of)}" for side, of in sides.items()))
    return {
        **row,
        "dearest": dearest,
        "sum_ms": sum(alone.values()) * 1e3,
        "rounds": measured.rounds,
        "sides": sides,
    }


def _test(task: Task, methods: Methods) -> Callable[[], Any]:
    return quiet(
        lambda: mprt(task.model, task.images, methods, task.target, layer=task.layer, steps=STEPS)
    )


def _difference(methods: Methods, subject: Subject) -> float:
    """Return by how much a similarity differs when its method runs alone."""
    exact = Subject(NETWORK, subject.exact.model, CHECKED_SIZE, subject.device, subject.target)
    task = exact.task("randomisation", 1)
    together = _test(task, methods)()
    alone = {name: _test(task, {name: of})()[name] for name, of in methods.items()}
    # A map that vanishes on a random network is NaN for both.
    return max(
        difference(alone[name].nan_to_num(-2), together[name].nan_to_num(-2)) for name in methods
    )


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start

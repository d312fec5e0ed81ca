"""Gradient methods against Captum and plain autograd, by network, precision and batch."""

from __future__ import annotations

from typing import Any

from benchmarks.cases.base import Row
from benchmarks.gpu.scope import Scope, precision
from benchmarks.gpu.sections.base import Bench, Section
from benchmarks.measure.agreement import judge
from benchmarks.measure.head_to_head import within
from benchmarks.peers import OURS, PEERS
from benchmarks.tasks import Run, Subject, Task, floor

CAPTUM = PEERS[0]


class Methods(Section):
    name = "gpu-methods"
    title = "Gradient methods on a GPU"
    share = 10.0

    def cells(self, scope: Scope) -> list[Row]:
        return [
            {"network": network, "precision": name, "batch": batch}
            for network in scope.networks
            for name in scope.precisions
            for batch in scope.batches
        ]

    def rows(self, cell: Row, scope: Scope) -> list[Row]:
        return [{**cell, "method": method} for method in scope.methods]

    def measure(self, cell: Row, bench: Bench, seconds: float) -> list[dict[str, Any]]:
        scope = bench.scope
        compared = bench.kept(cell["network"], lambda: Compared(cell["network"], scope))
        with precision(cell["precision"], scope.device):
            measured = within(compared.runs(cell["batch"]), scope.device, seconds)
        return [compared.figures(method, measured, cell["batch"]) for method in scope.methods]


class Compared:
    """One network, a copy of it for each side, and the verdicts of float64."""

    def __init__(self, network: str, scope: Scope) -> None:
        subject = Subject.of(network, scope.size, scope.device)
        self._subject = subject
        self._methods = scope.methods
        self._wrong = {method: _wrong_sides(subject, method) for method in scope.methods}
        vars(subject).pop("exact", None)  # Its memory is needed from here on.
        task = subject.task(scope.methods[0], 1)
        sides = (OURS.name, CAPTUM.name, "floor")
        self._models = {name: task.on_own_model().model for name in sides}

    def runs(self, batch: int) -> dict[str, Run]:
        """Return a run for each method and side, and one of plain autograd for all methods."""
        first = self._task(self._methods[0], batch, "floor")
        made = {"floor": floor(first)}
        for method in self._methods:
            for library in (OURS, CAPTUM):
                task = self._task(method, batch, library.name, first)
                made[f"{method} {library.name}"] = library.run(task)
        return made

    def figures(self, method: str, measured: Any, batch: int) -> dict[str, Any]:
        """Return the figures of one method."""
        sides = {name: f"{method} {name}" for name in (OURS.name, CAPTUM.name)}
        own = measured.of({**sides, "floor": "floor"})
        found = {"rounds": own.rounds, "sides": own.figures(OURS.name, batch)}
        wrong = self._wrong[method]
        if OURS.name in wrong:
            return {"error": f"the result is wrong: {wrong[OURS.name]}"}
        if CAPTUM.name in wrong:
            found["remark"] = f"Captum {wrong[CAPTUM.name]}"
        return found

    def _task(self, method: str, batch: int, side: str, like: Task | None = None) -> Task:
        images = like or self._subject.task(method, batch)
        return Task(method, self._models[side], images.images, images.layer, images.target)


def _wrong_sides(subject: Subject, method: str) -> dict[str, str]:
    """Compare both libraries with the reference in float64."""
    task = subject.exact.task(method, 1)
    verdicts = {library.name: judge(library, task).wrong for library in (OURS, CAPTUM)}
    return {name: why for name, why in verdicts.items() if why}

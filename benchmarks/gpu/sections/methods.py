"""Gradient methods against Captum and plain autograd, by network, precision and batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from benchmarks.cases.base import Row
from benchmarks.gpu.scope import Scope, precision
from benchmarks.gpu.sections.base import Bench, Section
from benchmarks.measure.agreement import judge
from benchmarks.measure.head_to_head import HeadToHead, within
from benchmarks.measure.reference import reference
from benchmarks.peers import OURS, PEERS
from benchmarks.tasks import Run, Subject, floor

CAPTUM = PEERS[0]
ALIKE = 0.99
"""The least cosine between a map in float32 and the exact one."""


class Methods(Section):
    name = "gpu-methods"
    title = "Gradient methods on a GPU"
    share = 10.0
    shortest = 0.2

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
    """One network, a copy of it for each side, and what is wrong with their results."""

    def __init__(self, network: str, scope: Scope) -> None:
        self._subject = Subject.of(network, scope.size, scope.device)
        self._methods = scope.methods
        with precision("float32", scope.device):
            self._wrong = wrong_sides(self._subject, scope.methods)
        task = self._subject.task(scope.methods[0], 1)
        sides = (OURS.name, CAPTUM.name, "floor")
        self._models = {name: task.on_own_model().model for name in sides}

    def runs(self, batch: int) -> dict[str, Run]:
        """Return a run for each method and side, and one of plain autograd for all methods."""
        task = self._subject.task(self._methods[0], batch)
        made = {"floor": floor(task.on(self._models["floor"]))}
        for method in self._methods:
            for library in (OURS, CAPTUM):
                own = replace(task, method=method, model=self._models[library.name])
                made[f"{method} {library.name}"] = library.run(own)
        return made

    def figures(self, method: str, measured: HeadToHead, batch: int) -> dict[str, Any]:
        """Return the figures of one method."""
        wrong = self._wrong[method]
        if OURS.name in wrong:
            return {"error": f"the result is wrong: {wrong[OURS.name]}"}
        sides = {name: f"{method} {name}" for name in (OURS.name, CAPTUM.name)}
        own = measured.of({**sides, "floor": "floor"})
        found = {"rounds": own.rounds, "sides": own.figures(OURS.name, batch)}
        return {**found, "remark": f"Captum {wrong[CAPTUM.name]}"} if wrong else found


def wrong_sides(subject: Subject, methods: Sequence[str]) -> dict[str, dict[str, str]]:
    """Compare both libraries with the reference in float64, and torchattr also in float32.

    In float32 the kernels of a GPU serve, but rounding opens and closes gates; so the direction
    of the map is compared with that of the exact one.
    """
    exact, found = subject.exact, {}
    for method in methods:
        task = exact.task(method, 1)
        right = reference(task)
        verdicts = {one.name: judge(one, task, right).wrong for one in (OURS, CAPTUM)}
        alike = cosine(OURS.run(subject.task(method, 1).on_own_model())(), right)
        if alike < ALIKE and verdicts[OURS.name] is None:
            verdicts[OURS.name] = f"in float32, its cosine to the exact map is {alike:.4f}"
        found[method] = {name: why for name, why in verdicts.items() if why}
    vars(subject).pop("exact")  # Nothing but time is measured from here on.
    return found


def cosine(one: Tensor, other: Tensor) -> float:
    return float(F.cosine_similarity(one.double().flatten(), other.double().flatten(), dim=0))

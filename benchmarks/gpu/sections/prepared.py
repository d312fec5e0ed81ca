"""Prepared models against Captum in the same precision."""

from __future__ import annotations

from typing import Any

import torch

import torchattr as ta
from benchmarks.cases.base import Row
from benchmarks.gpu.scope import Scope, precision
from benchmarks.gpu.sections.base import Bench, Section
from benchmarks.measure.head_to_head import within
from benchmarks.peers import OURS, PEERS
from benchmarks.tasks import Run, Subject


class Prepared(Section):
    name = "gpu-prepared"
    title = "Prepared models on a GPU"
    share = 2.0

    def cells(self, scope: Scope) -> list[Row]:
        return [
            {"network": scope.large, "method": "GuidedBackprop", "batch": batch, "precision": name}
            for batch, name in scope.prepared
        ]

    def measure(self, cell: Row, bench: Bench, seconds: float) -> list[dict[str, Any]]:
        scope = bench.scope
        subject = bench.kept(
            cell["network"], lambda: Subject.of(cell["network"], scope.size, scope.device)
        )
        task = subject.task(cell["method"], cell["batch"])
        captum = PEERS[0].run(task.on_own_model())

        is_low = cell["precision"] == "bfloat16"

        def peer() -> Any:
            with torch.autocast(scope.device.type, torch.bfloat16, enabled=is_low):
                return captum()

        with precision("float32", scope.device):
            fast = ta.prepare(subject.model, task.images, precision=cell["precision"])
            runs: dict[str, Run] = {"prepared": OURS.run(task.on(fast)), "captum": peer}
            measured = within(runs, scope.device, seconds)
        figures = measured.figures("prepared", cell["batch"])
        report = dict(fast.report.rows())
        return [{"rounds": measured.rounds, "sides": figures, "report": report}]

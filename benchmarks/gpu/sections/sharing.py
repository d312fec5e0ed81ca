"""Several results from one call: five methods, and Grad-CAM for a hundred classes."""

from __future__ import annotations

from typing import Any

from benchmarks.cases.base import Row
from benchmarks.cases.comparison import Comparison
from benchmarks.cases.sharing import cams_right, five_methods, five_right, many_cams
from benchmarks.gpu.scope import Scope, precision
from benchmarks.gpu.sections.base import Bench, Section
from benchmarks.measure.head_to_head import within
from benchmarks.tasks import Subject, quiet


class Sharing(Section):
    name = "gpu-sharing"
    title = "Sharing on a GPU"
    share = 1.5

    def cells(self, scope: Scope) -> list[Row]:
        return [
            {"name": one.name, "network": one.network, "batch": one.batch} for one in _all(scope)
        ]

    def measure(self, cell: Row, bench: Bench, seconds: float) -> list[dict[str, Any]]:
        scope = bench.scope
        (compared,) = (one for one in _all(scope) if one.name == cell["name"])
        subject = bench.kept(
            compared.network, lambda: Subject.of(compared.network, scope.size, scope.device)
        )
        with precision("float32", scope.device):
            wrong = compared.wrong_sides(subject)
            if wrong:
                return [{"error": f"wrong results: {wrong}"}]
            task = subject.task(compared.name, compared.batch).on_own_model()
            runs = {name: quiet(run) for name, run in compared.sides(task).items()}
            measured = within(runs, scope.device, seconds)
        return [{"rounds": measured.rounds, "sides": measured.figures("torchattr")}]


def _all(scope: Scope) -> tuple[Comparison, ...]:
    return (
        Comparison("five methods", scope.large, scope.middle, five_methods, five_right),
        Comparison("grad-cam for 100 classes", scope.large, 1, many_cams, cams_right),
    )

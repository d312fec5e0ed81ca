"""The peak of memory per image, when memory is to be saved."""

from __future__ import annotations

from inspect import signature
from typing import Any

import torchattr as ta
from benchmarks.cases.base import Row
from benchmarks.gpu.scope import Scope, precision
from benchmarks.gpu.sections.base import Bench, Section
from benchmarks.measure.head_to_head import within
from benchmarks.peers import PEERS
from benchmarks.tasks import Run, Subject, Task


class Memory(Section):
    name = "gpu-memory"
    title = "Memory on a GPU"
    share = 1.0
    how = "The peak of allocated memory above that before a call, of the second call."

    def cells(self, scope: Scope) -> list[Row]:
        return [
            {"network": scope.large, "method": method, "batch": scope.memory}
            for method in ("GuidedBackprop", "Saliency")
        ]

    def measure(self, cell: Row, bench: Bench, seconds: float) -> list[dict[str, Any]]:
        scope, batch = bench.scope, cell["batch"]
        subject = bench.kept(
            cell["network"], lambda: Subject.of(cell["network"], scope.size, scope.device)
        )
        task = subject.task(cell["method"], batch)
        runs = {"torchattr": lean(task.on_own_model()), "captum": PEERS[0].run(task.on_own_model())}
        for run in runs.values():
            run()  # Workspaces of libraries are allocated once.
        with precision("float32", scope.device):
            measured = within(runs, scope.device, seconds)
        sides = measured.figures("torchattr")
        for side in sides.values():
            side["peak_mib_an_image"] = side["peak_mib"] / batch
        sides["captum"]["peak_ratio"] = sides["torchattr"]["peak_mib"] / sides["captum"]["peak_mib"]
        return [{"rounds": measured.rounds, "sides": sides, "remark": _told(sides)}]


def lean(task: Task) -> Run:
    """Return a run that saves memory rather than calls, where the method can be told to."""
    kind = getattr(ta, task.method)
    attribute = signature(kind.attribute).parameters
    of_object = {"memory": "lean"} if "memory" in signature(kind).parameters else {}
    of_call = {"memory": "lean"} if "memory" in attribute else {}
    method = kind(task.model, **of_object)
    return lambda: method.attribute(task.images, target=task.target, **of_call)


def _told(sides: Any) -> str:
    ours, captum = (sides[name]["peak_mib_an_image"] for name in ("torchattr", "captum"))
    return f"{ours:.1f} MiB an image, Captum {captum:.1f}"

"""Occlusion of one image, incremental where that is faster, against whole forwards and Captum."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import captum.attr
from torch import Tensor

import torchattr as ta
from benchmarks.cases.base import Row
from benchmarks.cases.occlusion_tasks import occlusion_task
from benchmarks.gpu.scope import Scope, precision
from benchmarks.gpu.sections.base import Bench, Section
from benchmarks.measure.agreement import difference
from benchmarks.measure.head_to_head import within
from benchmarks.tasks import Subject

ALLOWED = 1e-3
"""Largest allowed difference of the maps, relative to their largest magnitude, in float32."""


class Incremental(Section):
    name = "gpu-incremental"
    title = "Incremental ablation on a GPU"
    share = 3.0

    def cells(self, scope: Scope) -> list[Row]:
        return [{"network": network, "what": what} for network, what in scope.windows]

    def measure(self, cell: Row, bench: Bench, seconds: float) -> list[dict[str, Any]]:
        scope = bench.scope
        subject = bench.kept(
            cell["network"], lambda: Subject.of(cell["network"], scope.size, scope.device)
        )
        with precision("float32", scope.device):
            occlusion = Occlusion(cell["what"], subject)
            at_once = occlusion.best(scope.at_once)
            runs = occlusion.runs(at_once)
            apart = difference(runs["torchattr"](), runs["captum"]())
            if apart > ALLOWED:
                return [{"error": f"differs from Captum by {apart:.2g} of the largest value"}]
            measured = within(runs, scope.device, seconds)
        sides = measured.figures("torchattr")
        for name in ("dense", "captum"):
            sides[name]["times"] = sides[name]["ms"] / sides["torchattr"]["ms"]
        remark = f"Captum with perturbations_per_eval={at_once}; {occlusion.told()}"
        return [{"rounds": measured.rounds, "sides": sides, "remark": remark}]


class Occlusion:
    """One task of occlusion, for each side."""

    def __init__(self, what: str, subject: Subject) -> None:
        self._picture = occlusion_task(what, subject.size, subject.device).picture
        size, stride = map(int, what.split("/"))
        self._asked: dict[str, Any] = {
            "sliding_window_shapes": (3, size, size),
            "strides": (3, stride, stride),
            "target": subject.target,
        }
        self._device = subject.device
        self._ours = ta.Occlusion(subject.model)
        self._captum = captum.attr.Occlusion(subject.model)

    def runs(self, at_once: int) -> dict[str, Callable[[], Tensor]]:
        return {
            "torchattr": lambda: self._own("auto"),
            "dense": lambda: self._own(False),
            "captum": lambda: self._peer(at_once),
        }

    def best(self, choices: tuple[int, ...]) -> int:
        """Return Captum's fastest number of perturbations in one forward."""
        tried = {str(one): partial(self._peer, one) for one in choices}
        times = within(tried, self._device, 0.0, least=1).times
        return int(min(times, key=times.__getitem__))

    def told(self) -> str:
        """Return torchattr's report of what it recomputed."""
        reports: list[Any] = []
        asked = {**self._asked, "incremental": "auto", "report": reports.append}
        self._ours.attribute(self._picture, **asked)
        return str(reports[0])

    def _own(self, incremental: Any) -> Tensor:
        return self._ours.attribute(self._picture, **self._asked, incremental=incremental)

    def _peer(self, at_once: int) -> Tensor:
        return self._captum.attribute(self._picture, **self._asked, perturbations_per_eval=at_once)

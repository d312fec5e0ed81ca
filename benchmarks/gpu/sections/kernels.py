"""The fused operations of each backend against a copy and against eager PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.cases.base import Row
from benchmarks.cases.fused_operations import Operation, images_of, operations, wrong
from benchmarks.cases.kernels import MEMORY, beside, by, figures
from benchmarks.gpu.scope import Scope
from benchmarks.gpu.sections.base import Bench, Section
from benchmarks.measure.timing import by_turns_until
from torchattr.kernels.dispatch import backends

DTYPES = ("float32", "bfloat16")
NAMES = tuple(operations(1, torch.device("meta"), torch.float32, torch.contiguous_format))


class Kernels(Section):
    name = "gpu-kernels"
    title = "Kernels on a GPU"
    share = 2.5
    shortest = 0.2

    def cells(self, scope: Scope) -> list[Row]:
        return [
            {"operation": name, "dtype": dtype, "memory": memory}
            for dtype in DTYPES
            for memory in scope.memory_orders
            for name in NAMES
        ]

    def rows(self, cell: Row, scope: Scope) -> list[Row]:
        return [{**cell, "backend": backend} for backend in scope.backends]

    def measure(self, cell: Row, bench: Bench, seconds: float) -> list[dict[str, Any]]:
        scope, dtype = bench.scope, getattr(torch, cell["dtype"])
        count = images_of(scope.mebibytes, dtype)
        made = operations(count, scope.device, dtype, MEMORY[cell["memory"]])
        operation = made[cell["operation"]]()
        verdicts = {name: verdict(operation, name) for name in scope.backends}
        runs = beside(operation)
        for name, why in verdicts.items():
            if why is None:
                runs[name] = by(operation, backends()[name])
        times = _times(runs, scope.device, seconds)
        return [
            {"error": why} if why else _row(figures(times, name, operation))
            for name, why in verdicts.items()
        ]


def verdict(operation: Operation, name: str) -> str | None:
    """Return what is wrong with a backend's result, or `None`."""
    try:
        return wrong(operation, backends()[name])
    except Exception as error:  # noqa: BLE001 - whatever a compiler raises is this backend's fault
        return f"raises {type(error).__name__}: {str(error).strip()[:200]}"


def _times(
    runs: dict[str, Callable[[], Any]], device: torch.device, seconds: float
) -> dict[str, list[float]]:
    for run in runs.values():
        run()
    repeats = 10 if device.type == "cuda" else 1
    return by_turns_until(runs, time.perf_counter() + seconds, device, 3, 30, repeats)


def _row(found: dict[str, Any]) -> dict[str, Any]:
    eager = {"ms": found["eager_ms"], "ratio": found["to_eager"]}
    remark = f"{100 * found['of_copy']:.0f} % of a copy, {found['faster_than_eager']:.2f} × eager"
    return {**found, "sides": {"torchattr": {"ms": found["ms"]}, "eager": eager}, "remark": remark}

"""Made-up rows of results, and what tests read of rows."""

from __future__ import annotations

from typing import Any

from benchmarks.cases import CASES

MACHINE = {"processor": "Abacus 3", "system": "Linux", "threads": 2}


MEASURED = {"torch": "3.0"}


def methods_row(network: str = "resnet50", ratio: float = 0.8, **more: Any) -> dict[str, Any]:
    sides = {
        "torchattr": {"ms": 10.0, "remembered_mib": 1.0, "peak_mib": 5.0},
        "captum": {"ms": 12.5, "ratio": ratio, "remembered_mib": 80.0, "peak_mib": 99.0},
        "zennit": {"wrong": "gives the plain gradient"},
        "floor": {"ms": 9.5, "ratio": 1.05},
    }
    return {"network": network, "method": "GuidedBackprop", "batch": 8, "sides": sides, **more}


def kernel_row(operation: str, backend: str = "torch") -> dict[str, Any]:
    figures = {"ms": 2.0, "gb_s": 30.0, "copy_gb_s": 40.0, "of_copy": 0.75, "eager_ms": 4.0}
    figures |= {"to_eager": 0.5, "eager_of_copy": 0.3, "faster_than_eager": 2.0}
    named = {"operation": operation, "dtype": "float32", "memory": "contiguous"}
    return {**named, "backend": backend, "chosen": True, **figures}


def scale_rows() -> list[dict[str, Any]]:
    return [
        {
            "network": "resnet50",
            "batch": batch,
            "sides": {
                side: {"growth_mib": batch * slope, "ratio": 1.2}
                for side, slope in (("torchattr", 12.0), ("inference", 10.0), ("captum", 90.0))
            },
        }
        for batch in (1, 8, 32)
    ]


def section(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"measured": MEASURED, "rows": list(rows)}


def shown(case: str, rows: list[dict[str, Any]]) -> str:
    return "\n".join(CASES[case].tables(rows))


def right(row: dict[str, Any]) -> list[str]:
    return [name for name, side in row["sides"].items() if "wrong" not in side]

"""What memory allows: growth of the process on a CPU, the largest batch on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.cases.base import Case, Row
from benchmarks.measure.agreement import judge
from benchmarks.measure.child import measured_alone
from benchmarks.measure.memory import MIB
from benchmarks.peers import OURS, PEERS
from benchmarks.report.text import number, say, table
from benchmarks.settings import Settings
from benchmarks.tasks import Subject

SIDES = ("torchattr", "inference", "captum")
NETWORKS = ("resnet50", "vgg16")
BUDGET = 8192
"""MiB of GPU memory that the largest batch must fit into."""


class Scale(Case):
    """Guided backpropagation. Each figure comes from a process of its"
    " own."""

    name = "scale"
    title = "Scale"
    how = "Each figure was measured once."

    def missing(self, settings: Settings) -> str | None:
        if not settings.on_gpu and not Path("/proc/self/clear_refs").exists():
            return "the peak of resident memory can be reset on Linux only"
        return None

    def run(self, settings: Settings) -> list[dict[str, Any]]:
        rows = []
        for network in NETWORKS:
            sides = _right_sides(network, settings)
            batches = (0,) if settings.on_gpu else settings.growth_batches
            for batch in batches:
                row = (
                    _largest(network, sides)
                    if settings.on_gpu
                    else _growth(network, sides, batch, settings)
                )
                say(network, {key: value for key, value in row.items() if key != "network"})
                rows.append(row)
        return rows

    def tables(self, rows: Sequence[Row]) -> list[str]:
        grown = [row for row in rows if "batch" in row]
        return _growth_table(grown) if grown else _largest_table(rows)


def _right_sides(network: str, settings: Settings) -> dict[str, str | None]:
    """Return the error of each side, if any."""
    exact = Subject.of(network, settings.size, torch.device("cpu")).exact
    task = exact.task("GuidedBackprop", 1)
    libraries = {one.name: one for one in (OURS, *PEERS)}
    return {
        side: judge(libraries[side], task).wrong if side in libraries else None for side in SIDES
    }


def _growth(
    network: str, sides: dict[str, str | None], batch: int, settings: Settings
) -> dict[str, Any]:
    asked = {"network": network, "size": settings.size, "threads": torch.get_num_threads()}
    found: dict[str, dict[str, Any]] = {
        side: {"wrong": wrong}
        if wrong
        else {"growth_mib": measured_alone("growth", side=side, batch=batch, **asked) / MIB}
        for side, wrong in sides.items()
    }
    _compare(found, "growth_mib", "ratio")
    return {"network": network, "batch": batch, "sides": found}


def _largest(network: str, sides: dict[str, str | None]) -> dict[str, Any]:
    asked = {"network": network, "device": "cuda", "budget": BUDGET}
    found: dict[str, dict[str, Any]] = {
        side: {"wrong": wrong}
        if wrong
        else {"images": measured_alone("largest_batch", side=side, **asked)}
        for side, wrong in sides.items()
    }
    _compare(found, "images", "times_as_many")
    return {"name": "largest batch", "network": network, "budget_mib": BUDGET, "sides": found}


def _compare(sides: dict[str, dict[str, Any]], figure: str, name: str) -> None:
    """Add torchattr's figures relative to those of each other side."""
    ours = sides[OURS.name].get(figure)
    for side, figures in sides.items():
        if side != OURS.name and ours and figures.get(figure):
            figures[name] = ours / figures[figure]


def _growth_table(rows: Sequence[Row]) -> list[str]:
    text = (
        "Growth of a process's resident memory in MiB during a call of guided"
        " backpropagation; in brackets torchattr's growth as a share of it. Each figure comes"
        " from a separate process. The allocator settings are the same for all: freed blocks of"
        " 64 KiB and more are returned to the system at once."
    )
    return [
        text,
        "",
        *table(["network", "batch", *SIDES], (_cells(row, "growth_mib", "ratio") for row in rows)),
    ]


def _largest_table(rows: Sequence[Row]) -> list[str]:
    text = (
        f"The largest batch of guided backpropagation that fits into {BUDGET} MiB, to 2 %; in"
        " brackets how many times as large torchattr's is. Each figure comes from a separate"
        " process."
    )
    return [
        text,
        "",
        *table(["network", "", *SIDES], (_cells(row, "images", "times_as_many") for row in rows)),
    ]


def _cells(row: Row, figure: str, relation: str) -> list[str]:
    cells = [row["network"], str(row.get("batch", ""))]
    for side in SIDES:
        found = row["sides"][side]
        shown = found.get("wrong") or number(found[figure])
        cells.append(f"{shown} ({number(found[relation])})" if relation in found else shown)
    return cells

"""The targets of a GPU: the worst row, and what is said of the others."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.gpu.scope import whole
from benchmarks.gpu.sections import SECTIONS
from benchmarks.gpu.targets import TARGETS, as_table, outcome

(TARGET,) = (one for one in TARGETS if one.what.startswith("gradient methods, tf32, batch 64"))


def row(network: str, captum: Any = None, **more: Any) -> dict[str, Any]:
    named = {"network": network, "precision": "tf32", "batch": 64, "method": "Saliency"}
    sides = {} if captum is None else {"sides": {"torchattr": {"ms": 1.0}, "captum": captum}}
    return {**named, **sides, **more}


def sections(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"gpu-methods": {"measured": {}, "rows": list(rows)}}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row("a", {"ratio": 0.9})], "pass"),
        ([row("a", {"ratio": 0.9}), row("b", {"ratio": 1.1})], "fail; 1 of 2 miss it"),
        ([row("a", {"ratio": 0.9}), row("b", not_reached=True)], "pass; 1 not reached"),
        (
            [row("a", {"wrong": "out of memory"}), row("b", {"ratio": 0.5})],
            "pass; 1 where Captum has no result",
        ),
        ([row("a", error="it broke")], "fail; 1 with errors: it broke"),
        ([], "not measured"),
    ],
)
def test_outcomes(rows: list[Any], said: str) -> None:
    assert str(outcome(TARGET, sections(*rows))) == said


def test_running_out_of_memory_oneself_is_an_error() -> None:
    lost = row("a", {"ms": 1.0})
    lost["sides"]["torchattr"] = {"wrong": "out of memory"}
    assert str(outcome(TARGET, sections(lost))) == "fail; 1 with errors: out of memory"


def test_the_table_shows_the_worst_row() -> None:
    lines = as_table(sections(row("a", {"ratio": 0.8}), row("b", {"ratio": 0.95})))
    (line,) = (line for line in lines if TARGET.what in line)
    assert line == f"| {TARGET.what} | ≤ 1.00 | 0.95 | b, tf32, Saliency, 64 | pass |"


def test_every_target_rests_on_rows_of_the_whole_scope() -> None:
    asked = whole(torch.device("cuda"))
    rows = {
        section.name: [row for cell in section.cells(asked) for row in section.rows(cell, asked)]
        for section in SECTIONS.values()
    }
    for target in TARGETS:
        assert any(target.rests_on(target.case, row) for row in rows[target.case]), target.what
    assert len({one.what for one in TARGETS}) == len(TARGETS)

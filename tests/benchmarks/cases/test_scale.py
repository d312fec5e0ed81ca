"""The case `scale`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from made_up import right, shown

from benchmarks.cases import CASES
from benchmarks.cases.base import Row
from benchmarks.report import plots
from benchmarks.settings import Settings

QUICK = Settings(torch.device("cpu"), rounds=1, quick=True, networks=("resnet18",))


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
def test_scale() -> None:
    (row,) = CASES["scale"].run(QUICK)
    assert right(row) == ["torchattr", "inference", "captum"]
    assert all(side["growth_mib"] > 0 for side in row["sides"].values())
    assert "| resnet18 | 1 |" in shown("scale", [row])


def test_a_figure_of_the_largest_batch() -> None:
    sides = {"torchattr": {"images": 300}, "captum": {"images": 30, "times_as_many": 10.0}}
    row: Row = {"name": "largest batch", "network": "resnet50", "budget_mib": 8192, "sides": sides}
    assert plots.scale([row]) is not None
    assert "300" in "\n".join(CASES["scale"].tables([_with_inference(row)]))


def _with_inference(row: Row) -> dict[str, Any]:
    return {**row, "sides": {**row["sides"], "inference": {"images": 320}}}

"""The case `inspect`."""

from __future__ import annotations

import pytest
import torch
from made_up import right, shown

from benchmarks.cases import CASES
from benchmarks.cases import inspect as inspect_case
from benchmarks.settings import Settings

QUICK = Settings(torch.device("cpu"), rounds=1, quick=True, networks=("resnet18",))


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
def test_inspect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect_case, "COUNTS", (1, 2))
    monkeypatch.setattr(inspect_case, "CALLS", 2)
    clicked = {"name": "viewer click", "left_out": "it is tested by itself"}
    monkeypatch.setattr(inspect_case, "click", lambda settings: clicked)
    rows = CASES["inspect"].run(QUICK)
    assert [row["name"] for row in rows[:3]] == ["whole maps", "maxima", "layer by layer"]
    assert all(right(row) == ["torchattr", "captum"] for row in rows[:3])
    assert "Left out: viewer click, it is tested by itself." in shown("inspect", rows)

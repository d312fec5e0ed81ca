"""The case `coalitions`."""

from __future__ import annotations

import pytest
import torch

from benchmarks.cases import CASES, coalitions
from benchmarks.settings import Settings

QUICK = Settings(torch.device("cpu"), rounds=1, quick=True)


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
def test_coalitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coalitions, "NETWORKS", ("resnet18",))
    monkeypatch.setattr(coalitions, "CELLS", 3)
    monkeypatch.setitem(coalitions.SAMPLES, "KernelShap", 12)
    rows = CASES["coalitions"].run(QUICK)
    assert [row["name"] for row in rows] == ["ShapleyValueSampling", "KernelShap"]
    for row in rows:
        assert all("wrong" not in side for side in row["sides"].values())
    shown = "\n".join(CASES["coalitions"].tables(rows))
    assert "4 orders" in shown

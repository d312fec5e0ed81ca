"""The case `faithfulness`."""

from __future__ import annotations

import pytest
import torch

from benchmarks.cases import CASES, faithfulness
from benchmarks.settings import Settings

QUICK = Settings(torch.device("cpu"), rounds=1, quick=True)


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
def test_faithfulness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faithfulness, "NETWORKS", ("resnet18",))
    monkeypatch.setattr(faithfulness, "CHECKED", 48)
    rows = CASES["faithfulness"].run(QUICK)
    assert [row["name"] for row in rows] == ["deletion curve", "single deletion"]
    for row in rows:
        assert set(row["sides"]) == {"torchattr", "whole"}
        assert all("wrong" not in side for side in row["sides"].values())
    shown = "\n".join(CASES["faithfulness"].tables(rows))
    assert "| deletion curve | resnet18 |" in shown

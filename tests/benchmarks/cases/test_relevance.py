"""The case `relevance`."""

from __future__ import annotations

import pytest
import torch

from benchmarks.cases import CASES, relevance
from benchmarks.settings import Settings

QUICK = Settings(torch.device("cpu"), rounds=1, quick=True)


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
def test_relevance(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("zennit", reason="the extra `bench` is not installed")
    monkeypatch.setattr(relevance, "NETWORKS", ("resnet50",))
    rows = CASES["relevance"].run(QUICK)
    assert [row["name"] for row in rows] == ["z⁺", "α2β1", "γ", "z⁺, 10 targets", "AttnLRP"]
    for row in rows:
        assert all("wrong" not in side for side in row["sides"].values())
    assert rows[0]["sides"]["zennit"]["remembered_ratio"] < 1
    assert CASES["relevance"].tables(rows)

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
    monkeypatch.setattr(relevance, "DEEP_LIFT", ("alexnet",))
    rows = list(CASES["relevance"].run(QUICK))
    names = ["z⁺", "α2β1", "γ", "z⁺, 10 targets", "DeepLIFT", "AttnLRP"]
    assert [row["name"] for row in rows] == names
    # The small network runs its rectifiers twice, which Captum's DeepLIFT refuses.
    assert "raises" in rows[4]["sides"]["captum"]["wrong"]
    for row in rows:
        assert all("wrong" not in side for name, side in row["sides"].items() if name != "captum")
    zennit = rows[0]["sides"]["zennit"]
    assert zennit["remembered_mib"] <= zennit["with_hooks_mib"] < zennit["peak_mib"]
    assert zennit["with_hooks_ratio"] <= zennit["remembered_ratio"] < 1
    assert CASES["relevance"].tables(rows)

"""The case `cams`."""

from __future__ import annotations

import pytest
import torch

from benchmarks.cases import CASES, cams
from benchmarks.settings import Settings

QUICK = Settings(torch.device("cpu"), rounds=1, quick=True, networks=("resnet50",))


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
def test_cams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cams, "ABLATED", {"vgg16": "features.3"})
    monkeypatch.setattr(cams, "ABLATION_SIZE", 32)
    rows = CASES["cams"].run(QUICK)
    assert len(rows) == 2
    for row in rows:
        assert all("wrong" not in side for side in row["sides"].values()), row
    assert CASES["cams"].tables(rows)

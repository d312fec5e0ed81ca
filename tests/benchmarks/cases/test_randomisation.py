"""The case `randomisation`."""

from __future__ import annotations

import pytest
import torch

from benchmarks.cases import CASES, randomisation
from benchmarks.report.targets import TARGETS
from benchmarks.settings import Settings

QUICK = Settings(torch.device("cpu"), rounds=1, quick=True)


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
def test_randomisation(monkeypatch: pytest.MonkeyPatch) -> None:
    sets = {"six methods": {"saliency": {}, "integrated_gradients": {"n_steps": 4}}}
    monkeypatch.setattr(randomisation, "SETS", sets)
    monkeypatch.setattr(randomisation, "STEPS", 2)
    rows = CASES["randomisation"].run(QUICK)
    assert [row["dearest"] for row in rows] == ["integrated_gradients"]
    assert all("wrong" not in side for side in rows[0]["sides"].values())
    assert CASES["randomisation"].tables(rows)
    (target,) = (one for one in TARGETS if one.case == "randomisation")
    assert target.measured({"randomisation": {"rows": rows}}) is not None

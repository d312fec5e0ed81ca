"""The case `truth`."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest
import torch

from benchmarks.cases import CASES
from benchmarks.report.plots import DRAWN
from benchmarks.settings import Settings
from torchattr.models.lite0 import PACKAGE

QUICK = Settings(torch.device("cpu"), rounds=1, quick=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:an interval of 3 samples")
@pytest.mark.filterwarnings("ignore:an interval of 4 samples")
def test_truth() -> None:
    rows = json.loads(json.dumps(list(CASES["truth"].run(QUICK)), allow_nan=False))
    names = [row["name"] for row in rows]
    assert names[:2] == ["planted", "collage"]
    shown = "\n".join(CASES["truth"].tables(rows))
    assert "| saliency | found (1.00) |" in shown
    assert "| eigen_cam | found (1.00) | misses (" in shown
    assert "Means over 3 scenes" in shown
    assert "| method | mean rank | mass ↑ |" in shown
    if find_spec(PACKAGE):
        assert names[2:] == ["lite0", "check of lite0"]
        assert "### A real network" in shown
        assert "other class" in shown
    figure = DRAWN["truth"](rows)
    assert figure is not None
    assert len(figure.axes) == 4
    assert DRAWN["truth"](rows[:1]) is None

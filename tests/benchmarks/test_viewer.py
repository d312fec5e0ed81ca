"""A click on a feature map is timed through HTTP."""

from __future__ import annotations

import pytest
import torch

from benchmarks import viewer
from benchmarks.cases import inspect as inspect_case
from benchmarks.settings import Settings

QUICK = Settings(torch.device("cpu"), rounds=1, quick=True, networks=("resnet18",))


@pytest.mark.slow
def test_a_click() -> None:
    pytest.importorskip("fastapi", reason="the extra web is not installed")
    row = inspect_case.click(QUICK)
    assert row["rounds"] == viewer.LAYERS
    assert 0 < row["sides"]["torchattr"]["ms"] <= row["sides"]["torchattr"]["longest_ms"]

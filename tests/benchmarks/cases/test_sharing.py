"""The case `sharing`."""

from __future__ import annotations

import pytest
import torch

from benchmarks.cases import CASES
from benchmarks.settings import Settings

QUICK = Settings(torch.device("cpu"), rounds=1, quick=True, networks=("resnet18",))


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
def test_sharing() -> None:
    rows = CASES["sharing"].run(QUICK)
    assert rows
    for row in rows:
        assert all("wrong" not in side for side in row["sides"].values())
    assert CASES["sharing"].tables(rows)

"""The networks of a run."""

from __future__ import annotations

import torch

from benchmarks.cases import incremental
from benchmarks.settings import NETWORKS, Settings

CPU = torch.device("cpu")


def test_networks_that_are_asked_for() -> None:
    assert Settings(CPU).among(incremental.ASKED) == list(incremental.ASKED)
    assert Settings(CPU, networks=("resnet18",)).among(incremental.ASKED) == ["resnet18"]
    assert Settings(CPU, networks=NETWORKS[:1]).among(incremental.ASKED) == []

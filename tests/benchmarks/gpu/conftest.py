"""A network so small that every section runs within seconds, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from helpers import seeded
from torch import nn

from benchmarks.cases import fused_operations
from benchmarks.gpu import scope
from benchmarks.gpu.child import measured
from benchmarks.gpu.running import Measure
from benchmarks.tasks import Subject


class Net(nn.Module):
    """Has the layers that tasks on ResNet-18 name, and the classes of ImageNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.layer4 = nn.Sequential(nn.Conv2d(4, 6, 3), nn.Sequential(nn.Conv2d(6, 8, 3)))
        self.end = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(8, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.end(self.layer4(self.stem(x))))


@pytest.fixture
def in_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Measure]:
    """Measure in this process, on a tiny network and tiny tensors."""

    def of(name: str, size: int, device: torch.device) -> Subject:
        return Subject(name, seeded(Net, seed=5).eval(), size, device, 7)

    def measure(name: str, device: torch.device, seconds: float, skip: int) -> Iterator[Any]:
        return measured(name, device, seconds, skip)

    monkeypatch.setattr(Subject, "of", of)
    monkeypatch.setattr(fused_operations, "PLANES", (3, 10, 11))
    monkeypatch.setattr(scope, "MEBIBYTES_OF_TINY", 0)
    monkeypatch.setattr("benchmarks.gpu.sections.base.LONGEST", 0.0)
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield measure
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]

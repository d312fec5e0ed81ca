"""The fused operations as cases of pytest-benchmark: `pytest benchmarks --benchmark-enable`."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.cases.fused_operations import operations, wrong
from benchmarks.cases.kernels import images, serving
from benchmarks.measure.timing import synchronize
from benchmarks.settings import Settings
from torchattr.kernels.api import Backend

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DTYPE = torch.float32
MADE = operations(images(Settings(DEVICE), DTYPE), DEVICE, DTYPE, torch.contiguous_format)
SIDES: list[Backend | None] = [*serving(DEVICE, DTYPE), None]


def side_name(side: Backend | None) -> str:
    return "eager" if side is None else side.name


@pytest.mark.parametrize("side", SIDES, ids=side_name)
@pytest.mark.parametrize("name", MADE)
def test_operation(benchmark: Any, name: str, side: Backend | None) -> None:
    operation = MADE[name]()
    if side is not None:
        assert wrong(operation, side) is None
    run = operation.eager if side is None else lambda: operation.by(side)
    benchmark.group = name
    benchmark.extra_info["bytes"] = operation.moved
    benchmark(lambda: (run(), synchronize(DEVICE)))

"""The case `kernels`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from made_up import shown

from benchmarks.cases import CASES, fused_operations, kernels
from benchmarks.settings import Settings

QUICK = Settings(torch.device("cpu"), rounds=1, quick=True, networks=("resnet18",))


@pytest.fixture
def tiny_planes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_operations, "PLANES", (3, 10, 11))


@pytest.mark.usefixtures("tiny_planes")
def test_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    def eager(operation: fused_operations.Operation) -> Callable[[], Any]:
        return operation.eager

    monkeypatch.setattr(kernels, "_compiled", eager)
    rows = CASES["kernels"].run(QUICK)
    assert {row["operation"] for row in rows if row["chosen"]} == {row["operation"] for row in rows}
    assert all(row["of_copy"] > 0 and row["to_compiled"] > 0 for row in rows)
    assert all("to_plain" in row for row in rows if row["operation"] == "relu")
    assert "| relu | float32 |" in shown("kernels", rows)

"""Runs against each other."""

from __future__ import annotations

import pytest
import torch

from benchmarks.measure import head_to_head as module
from benchmarks.measure.head_to_head import head_to_head
from benchmarks.settings import Settings

CPU = torch.device("cpu")


def test_a_run_without_memory_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def peak(run: object, device: object) -> int:
        if run is greedy:
            raise torch.OutOfMemoryError
        return 2**20

    def greedy() -> None:
        pytest.fail("it was timed")

    monkeypatch.setattr(module, "peak_bytes", peak)
    measured = head_to_head(
        {"torchattr": lambda: None, "captum": greedy}, Settings(CPU, quick=True)
    )
    figures = measured.figures("torchattr")
    assert figures["captum"] == {"wrong": "out of memory"}
    assert figures["torchattr"]["peak_mib"] == 1


def test_all_rounds_whatever_they_cost() -> None:
    runs = {"torchattr": lambda: None, "captum": lambda: None}
    assert head_to_head(runs, Settings(CPU, 3, quick=True), all_rounds=True).rounds == 3
    assert head_to_head(runs, Settings(CPU, 3, quick=True)).rounds == 1

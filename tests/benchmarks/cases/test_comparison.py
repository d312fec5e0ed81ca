"""Sides that are wrong are named."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks.cases.comparison import Comparison
from benchmarks.settings import Settings
from benchmarks.tasks import Subject, Task

QUICK = Settings(torch.device("cpu"), rounds=1, quick=True, networks=("resnet18",))


def test_a_side_that_is_wrong_in_a_comparison_is_named() -> None:
    def sides(task: Task) -> Any:
        return {
            "torchattr": lambda: [task.images],
            "captum": lambda: [task.images + 1],
            "broken": lambda: [][0],
        }

    model = nn.Conv2d(3, 2, 1)
    subject = Subject("resnet18", model, 4, QUICK.device, 0)
    found = Comparison("it", "resnet18", 1, sides, lambda task: [task.images]).wrong_sides(subject)
    assert list(found) == ["captum", "broken"]
    assert found["captum"].startswith("wrong by")
    assert found["broken"].startswith("raises IndexError")

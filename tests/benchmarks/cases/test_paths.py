"""The case `paths`."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.cases import CASES, paths
from benchmarks.report.targets import TARGETS
from benchmarks.settings import Settings
from benchmarks.tasks import Subject

QUICK = Settings(torch.device("cpu"), rounds=1, quick=True)
NAMES = ["LayerIntegratedGradients", "GradientShap"]


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
def test_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "NETWORKS", ("resnet18",))
    monkeypatch.setattr(paths, "CHECKED_SIZE", 64)
    rows = CASES["paths"].run(QUICK)
    assert [row["name"] for row in rows] == NAMES
    for row in rows:
        assert all("wrong" not in side for side in row["sides"].values())
    shown = "\n".join(CASES["paths"].tables(rows))
    assert all(name in shown for name in NAMES)
    sections = {"paths": {"rows": rows}}
    bounds = [target for target in TARGETS if target.case == "paths"]
    assert [target.limit for target in bounds] == [0.9, 0.9]
    assert all(target.measured(sections) is not None for target in bounds)


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("number", range(2), ids=NAMES)
def test_the_check_finds_a_side_that_is_wrong(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    both = paths._both

    def with_wrong(run: Any) -> dict[str, Any]:
        return {**both(run), "wrong": lambda: [1.001 * one for one in both(run)["captum"]()]}

    monkeypatch.setattr(paths, "_both", with_wrong)
    monkeypatch.setattr(paths, "CHECKED_SIZE", 64)
    comparison = paths._compared("resnet18")[number]
    found = comparison.wrong_sides(Subject.of("resnet18", 64, torch.device("cpu")))
    assert list(found) == ["wrong"]

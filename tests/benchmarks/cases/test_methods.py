"""The case `methods`."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from made_up import methods_row, right, shown

from benchmarks.cases import CASES
from benchmarks.settings import Settings
from benchmarks.tasks import METHODS

QUICK = Settings(torch.device("cpu"), rounds=1, quick=True, networks=("resnet18",))


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
def test_methods() -> None:
    rows = list(CASES["methods"].run(QUICK))
    assert [(row["method"], row["batch"]) for row in rows] == [
        (method, batch) for method in METHODS for batch in (1, 2)
    ]
    guided = next(row for row in rows if row["method"] == "GuidedBackprop" and row["batch"] == 2)
    assert guided["sides"]["grad-cam"] == {"wrong": "one image at a time"}
    assert right(guided) == ["torchattr", "captum", "zennit", "floor"]
    ours, captum = guided["sides"]["torchattr"], guided["sides"]["captum"]
    # Of lean passes. Their times are those of the default, whose peak is PyTorch's on small inputs.
    assert ours["remembered_mib"] < captum["remembered_mib"] / 20
    assert captum["ratio"] > 0
    assert "### GuidedGradCAM" in shown("methods", rows)


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
def test_a_cell_that_would_take_too_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """No target rests on it."""
    monkeypatch.setattr(Settings, "batch", property(lambda self: 1))
    monkeypatch.setattr(Settings, "longest_round", property(lambda self: 1e-6))
    first, second = CASES["methods"].run(replace(QUICK, methods=("Saliency",)))
    assert "sides" in first
    assert second["left_out"].startswith("a round would take about")


def test_left_out_cells_are_shown() -> None:
    row = methods_row()
    del row["sides"]
    row["left_out"] = "a round would take about 99 s"
    lines = "\n".join(CASES["methods"].tables([methods_row(), row]))
    assert "left out: a round would take about 99 s" in lines
    assert "| 12.5 (0.80) |" in lines

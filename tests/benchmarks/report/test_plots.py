"""Figures of the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_up import MACHINE
from PIL import Image

from benchmarks.report import plots
from benchmarks.report.plots import incremental as figure
from benchmarks.report.results import Results


def test_figures_are_drawn(results: Path, tmp_path: Path) -> None:
    written = plots.draw_all(results, tmp_path)
    assert sorted(path.name for path in written) == sorted(
        f"benchmarks-abacus-{name}.{kind}"
        for name in ("kernels", "methods", "scale")
        for kind in ("png", "svg")
    )
    for path in written:
        if path.suffix == ".png":
            colours = Image.open(path).convert("RGB").getcolors(2**20)
            assert len(colours or ()) > 10
        else:
            assert "torchattr" in path.read_text() or "torch" in path.read_text()


def test_nothing_to_draw_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Results(MACHINE, {}, {}).write(tmp_path, "abacus")
    assert plots.draw_all(tmp_path, tmp_path / "images") == []
    assert "nothing to draw of methods" in capsys.readouterr().out


def curve_row(size: int) -> dict[str, Any]:
    sides = {"torchattr": {"ms": 5.0, "difference": 1e-6}, "dense": {"ms": 20.0, "times": 4.0}}
    shown = {"network": "resnet18", "what": f"{size}/{size}", "places": 49, "rounds": 1}
    return {**shown, "bound": 3.0, "curve": size, "told": "", "sides": sides}


def test_the_figure_shows_every_size() -> None:
    drawn = figure([curve_row(8), curve_row(112)])
    assert drawn is not None
    (axes,) = drawn.axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["8", "112"]
    labels = [line.get_label() for line in axes.get_lines()]
    assert labels == ["whole forwards", "bound by operations", "torchattr"]
    assert axes.get_lines()[1].get_ydata().tolist() == pytest.approx([20 / 3, 20 / 3])
    assert figure([]) is None

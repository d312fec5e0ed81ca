"""The case `metrics`."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.cases import CASES, metrics
from benchmarks.report.targets import TARGETS
from benchmarks.settings import Settings

QUICK = Settings(torch.device("cpu"), rounds=1, quick=True)


@pytest.mark.usefixtures("cheap")
def test_times_are_scaled_to_the_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides take a second for one picture, and Quantus runs one of twelve methods."""
    ran: list[str] = []
    clock = iter(range(100))
    monkeypatch.setattr(metrics.time, "perf_counter", lambda: float(next(clock)))
    monkeypatch.setattr(metrics, "_by_peer", lambda options, scene: ran.append("quantus"))
    groups = [
        metrics.Group("drawn", lambda scene: {}, lambda scene: ran.append("drawn"), 200),
        metrics.Group("whole", lambda scene: {}, lambda scene: ran.append("whole")),
    ]
    monkeypatch.setattr(metrics, "GROUPS", groups)
    drawn, whole, total = CASES["metrics"].run(QUICK)
    assert ran == ["drawn", "quantus", "whole", "quantus"]
    assert drawn["sides"]["torchattr"]["s"] == 32 * 100
    assert drawn["sides"]["quantus"] == {"s": 32 * 100 * 12, "times": 12.0}
    assert whole["sides"]["torchattr"]["s"] == 32
    assert total["sides"]["quantus"]["s"] == 32 * 101 * 12
    shown = "\n".join(CASES["metrics"].tables([drawn, whole, total]))
    assert "| drawn | 1 | 2 | 1 |" in shown
    (target,) = [one for one in TARGETS if one.case == "metrics"]
    assert target.measured({"metrics": {"rows": [drawn, whole, total]}}) == 12.0


def test_it_needs_quantus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics.importlib.util, "find_spec", lambda name: None)
    assert "torchattr[bench]" in str(CASES["metrics"].missing(QUICK))


def _scene() -> Any:
    from benchmarks.tasks import Subject

    return metrics.Scene(Subject.of("resnet18", 64, torch.device("cpu")).task("metrics", 1), 2, 1)


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
@pytest.mark.filterwarnings("ignore")
def test_our_side_measures_every_method() -> None:
    scene = _scene()
    found: Any = metrics._robustness(scene)
    assert set(found) == set(metrics.ROBUSTNESS.values())
    assert all(set(one) == set(metrics.METHODS) for one in found.values())
    assert metrics._correlation(scene).shape == (1, 12)  # type: ignore[attr-defined]
    assert len(metrics._deletion(scene)) == 1 + 3 * 12  # type: ignore[arg-type]
    assert len(metrics._of_maps(scene)) == 12  # type: ignore[arg-type]
    count = sum(
        len(options(scene)) for options in (metrics._correlation_options, metrics._deletion_options)
    )
    assert count + len(metrics._map_options(scene)) + len(metrics.ROBUSTNESS) == 20


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
@pytest.mark.filterwarnings("ignore")
def test_both_sides_run() -> None:
    pytest.importorskip("quantus.metrics", reason="needs Quantus, of the extra 'bench'")
    rows = CASES["metrics"].run(QUICK)
    assert [row["name"] for row in rows] == [one.name for one in metrics.GROUPS] + [metrics.ALL]
    assert all(row["sides"]["quantus"]["times"] > 0 for row in rows)

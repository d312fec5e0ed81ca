"""The benchmark checks before it measures, and writes what it printed. Nothing here is timed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks import __main__ as command
from benchmarks import measure, peers


@pytest.mark.slow
def test_writes_the_table_that_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--network", "resnet18", "--batch", "1", "--rounds", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["benchmarks", *options, "--threads", "1"])
    command.main()
    (table,) = tmp_path.glob("*.md")
    assert table.read_text() in capsys.readouterr().out
    (report,) = (json.loads(file.read_text()) for file in tmp_path.glob("*.json"))
    assert [row["method"] for row in report["rows"]] == list(peers.METHODS)
    assert all(row["difference"] <= command.AGREEMENT for row in report["rows"])
    assert all(row["remembered_mib"] < row["captum_remembered_mib"] for row in report["rows"])


def test_a_wrong_result_gets_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def different(*arguments: object) -> float:
        return 1e-3

    monkeypatch.setattr(command, "_difference", different)
    monkeypatch.setattr(command, "network", lambda name: nn.Identity())
    monkeypatch.setattr(command, "_remembered", lambda model, name: ({}, {}))
    monkeypatch.setattr(command, "by_turns", lambda *arguments: pytest.fail("it was timed"))
    options = command.argparse.Namespace(batch=1, rounds=1)
    with pytest.raises(SystemExit, match=r"Saliency on any differs by 1\.0e-03 from Captum's"):
        command.measure("any", options)


def test_runs_by_turns() -> None:
    order: list[str] = []
    times = measure.by_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == ["a", "b"] * 3
    assert [len(taken) for taken in times.values()] == [2, 2]


def test_ratio_is_the_median_of_the_rounds() -> None:
    times = {"ours": [1.0, 9.0, 3.0], "peer": [2.0, 3.0, 4.0]}
    assert measure.ratio(times, "ours", "peer") == 0.75


def test_counts_each_storage_once_and_none_that_is_known() -> None:
    weight = torch.ones(8, requires_grad=True)
    x = torch.ones(8, requires_grad=True)

    def run() -> Tensor:
        hidden = (x * weight).exp()
        return hidden * hidden[:4].sum()

    # The exponential's output, the sum, and x itself; the weight is known.
    assert measure.remembered_bytes(run, [weight]) == 4 * (8 + 1 + 8)


def test_the_documentation_quotes_the_committed_results() -> None:
    page = (command.RESULTS.parents[1] / "docs" / "benchmarks.md").read_text()
    tables = sorted(command.RESULTS.glob("*.md"))
    assert tables
    for table in tables:
        assert table.read_text() in page

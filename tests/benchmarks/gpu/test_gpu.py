"""The whole program, on a CPU and tiny."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu.__main__ import NO_GPU, main
from benchmarks.gpu.running import Measure, in_child, rows_of
from benchmarks.gpu.sections import SECTIONS, Section
from benchmarks.report.results import Results

CPU = torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err == f"{NO_GPU}\n"


def test_every_section_runs(
    in_here: Measure,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for section in SECTIONS.values():
        monkeypatch.setattr(type(section), "shortest", 0.0)
    path = tmp_path / "results" / "this.json"
    assert main(["--device", "cpu", "--out", str(path)], in_here) == 0
    results = Results.read(path)
    assert list(results.sections) == [section.name for section in SECTIONS.values()]
    for name, found in results.sections.items():
        assert found["rows"], name
        for row in found["rows"]:
            assert row.get("error") is None
            assert "not_reached" not in row
            assert all(side["ms"] > 0 for side in row["sides"].values()), row
    said = capsys.readouterr().out
    assert "| gradient methods, float32, batch 1: of Captum's time | ≤ 1.00 |" in said
    assert "| gradient methods, tf32, batch 256: of Captum's time | ≤ 0.90 | – | – | not me" in said
    assert (tmp_path / "results" / "this.md").read_text().count("## ") > len(SECTIONS)


def test_other_sections_of_the_file_stay(in_here: Measure, tmp_path: Path) -> None:
    path = tmp_path / "this.json"
    Results({"gpu": "Abacus"}, {"gpu-kernels": {"measured": {}, "rows": []}}).write(
        tmp_path, "this"
    )
    assert main(["--device", "cpu", "--only", "memory", "--out", str(path)], in_here) == 0
    found = json.loads(path.read_text())["sections"]
    assert list(found) == ["gpu-kernels", "gpu-memory"]


def test_what_no_time_is_left_for_is_said(
    in_here: Measure, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--device", "cpu", "--minutes", "0", "--only", "memory,methods"], in_here) == 0
    said = capsys.readouterr().out
    assert "| resnet18 | float32 | Deconvolution | 2 | not reached |" in said
    assert "not measured; 3 not reached" in said


def test_refuses_an_unknown_section(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "memory,nonsense"])
    known = ", ".join(SECTIONS)
    assert f"unknown section 'nonsense'; available: {known}" in capsys.readouterr().err


@pytest.mark.slow
def test_a_section_in_a_process_of_its_own() -> None:
    rows = rows_of("memory", CPU, 60.0, in_child)
    assert [row["method"] for row in rows] == ["GuidedBackprop", "Saliency"]
    assert all(row["sides"]["captum"]["peak_ratio"] > 0 for row in rows)


@pytest.mark.slow
def test_the_reason_of_a_process_that_died_is_told() -> None:
    rows: Any = rows_of("memory", torch.device("cuda:77"), 60.0, in_child)
    assert all(row["error"] for row in rows)


def test_names_and_shares_of_sections() -> None:
    assert all(isinstance(one, Section) and one.share > 0 for one in SECTIONS.values())
    assert len({one.name for one in SECTIONS.values()}) == len(SECTIONS)

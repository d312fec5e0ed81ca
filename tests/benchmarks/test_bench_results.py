"""Sections, targets, quotations and figures; all from made-up results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from benchmarks import __main__ as command
from benchmarks import plots, quotes
from benchmarks.cases import CASES
from benchmarks.cases.base import Case, Row
from benchmarks.markdown import number, timed
from benchmarks.results import FOLDER, Results
from benchmarks.settings import Settings
from benchmarks.targets import TARGETS, Target, rests_on

MACHINE = {"processor": "Abacus 3", "system": "Linux", "threads": 2}
MEASURED = {"torch": "3.0"}


def methods_row(network: str = "resnet50", ratio: float = 0.8, **more: Any) -> dict[str, Any]:
    sides = {
        "torchattr": {"ms": 10.0, "remembered_mib": 1.0, "peak_mib": 5.0},
        "captum": {"ms": 12.5, "ratio": ratio, "remembered_mib": 80.0, "peak_mib": 99.0},
        "zennit": {"wrong": "gives the plain gradient"},
        "floor": {"ms": 9.5, "ratio": 1.05},
    }
    return {"network": network, "method": "GuidedBackprop", "batch": 8, "sides": sides, **more}


def kernel_row(operation: str, backend: str = "torch") -> dict[str, Any]:
    figures = {"ms": 2.0, "gb_s": 30.0, "copy_gb_s": 40.0, "of_copy": 0.75, "eager_ms": 4.0}
    figures |= {"to_eager": 0.5, "eager_of_copy": 0.3, "faster_than_eager": 2.0}
    named = {"operation": operation, "dtype": "float32", "memory": "contiguous"}
    return {**named, "backend": backend, "chosen": True, **figures}


def scale_rows() -> list[dict[str, Any]]:
    return [
        {
            "network": "resnet50",
            "batch": batch,
            "sides": {
                side: {"growth_mib": batch * slope, "ratio": 1.2}
                for side, slope in (("torchattr", 12.0), ("inference", 10.0), ("captum", 90.0))
            },
        }
        for batch in (1, 8, 32)
    ]


def section(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"measured": MEASURED, "rows": list(rows)}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    sections = {
        "kernels": section(kernel_row("relu"), kernel_row("unpool")),
        "methods": section(methods_row()),
        "scale": section(*scale_rows()),
    }
    folder = tmp_path / "results"
    Results(MACHINE, sections, {}).write(folder, "abacus")
    return folder


class Pebbles(Case):
    name = "sharing"
    title = "Pebbles"

    def run(self, settings: Settings) -> list[dict[str, Any]]:
        return [{"name": "five methods", "sides": {"captum": {"ratio": 0.3}}}]

    def tables(self, rows: Any) -> list[str]:
        return [f"{len(rows)} row", ""]


@pytest.fixture
def pebbles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CASES, "sharing", Pebbles())
    monkeypatch.setattr(command, "stem", lambda described: "abacus")


@pytest.mark.usefixtures("pebbles")
def test_a_case_renews_its_own_section_only(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = results / "abacus.json"
    before = Results.read(path)
    before.reasons["some target"] = "the reason"
    before.write(results, "abacus")
    command.main(["sharing", "--threads", "1", "--out", str(results)])
    after = Results.read(path)
    assert after.sections.pop("sharing")["rows"] == Pebbles().run(Settings(torch.device("cpu")))
    assert after.sections == before.sections
    assert after.reasons == {"some target": "the reason"}
    written = (results / "abacus.md").read_text()
    assert "## Pebbles\n\n1 row" in written
    assert "## Pebbles\n\n1 row" in capsys.readouterr().out


@pytest.mark.usefixtures("pebbles")
def test_a_quick_run_writes_nothing_unless_told_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "FOLDER", tmp_path / "committed")
    command.main(["sharing", "--quick", "--threads", "1"])
    assert not (tmp_path / "committed").exists()
    assert "mean nothing" in capsys.readouterr().out


def test_what_is_missing_is_said(results: Path) -> None:
    found = Results.read(results / "abacus.json")
    found.sections["prepare"] = {"skipped": "there is nothing to prepare"}
    assert "Left out: there is nothing to prepare." in found.part("prepare")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "no case is called 'nonsense'; there are: kernels, methods"),
        (["--rounds", "0"], "must be at least 1"),
        (["--device", "abacus"], "must be cpu or cuda"),
    ],
)
def test_refuses_before_it_runs(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        command.main(arguments)
    assert exit.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_refuses_a_gpu_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--device", "cuda"])
    assert "PyTorch sees no GPU here" in capsys.readouterr().err


def target(limit: float, **more: Any) -> Target:
    where = {"network": ("resnet50", "vgg16"), "method": "GuidedBackprop"}
    return Target("it", limit, "methods", where, ("sides", "captum", "ratio"), **more)


def test_a_target_takes_the_worst_of_its_rows() -> None:
    sections = {"methods": section(methods_row(ratio=0.8), methods_row("vgg16", ratio=0.95))}
    assert target(0.9).measured(sections) == 0.95
    assert target(0.9, at_least=True).measured(sections) == 0.8
    assert target(0.9).status(0.95, "cpu") == "missed"
    assert target(0.9).status(0.9, "cpu") == "met"
    assert target(0.9, at_least=True).status(0.95, "cpu") == "met"


def test_a_target_with_a_row_that_got_no_time_is_not_measured() -> None:
    wrong = methods_row("vgg16")
    wrong["sides"]["captum"] = {"wrong": "gives the plain gradient"}
    sections = {"methods": section(methods_row(), wrong)}
    assert target(0.9).measured(sections) is None
    assert target(0.9).status(None, "cpu") == "not measured"
    assert target(0.9, device="cuda").status(None, "cpu") == "not measured here (GPU)"


def test_rows_that_targets_rest_on() -> None:
    row = {"network": "resnet50", "method": "GuidedBackprop", "batch": 8}
    assert rests_on("methods", row)
    assert not rests_on("methods", {**row, "network": "alexnet"})
    assert not rests_on("sharing", row)


def test_targets_have_names_of_their_own_and_cases_that_exist() -> None:
    assert len({one.what for one in TARGETS}) == len(TARGETS)
    assert {one.case for one in TARGETS} <= set(CASES)


def test_the_table_of_targets_says_why_one_is_missed(results: Path) -> None:
    found = Results.read(results / "abacus.json")
    found.sections["methods"] = section(methods_row(ratio=0.93))
    (what,) = (
        one.what for one in TARGETS if one.rests_on("methods", methods_row()) and one.limit == 0.9
    )
    found.reasons[what] = "the reason"
    assert f"| {what} | ≤ 0.90 | 0.93 | missed: the reason |" in found.part("targets")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0"), (1234.4, "1234"), (12.34, "12.3"), (0.876, "0.88"), (0.0123, "0.012")],
)
def test_numbers(value: float | None, shown: str) -> None:
    assert number(value) == shown


def test_times_and_reasons() -> None:
    assert timed({"ms": 12.0, "ratio": 0.5}) == "12.0 (0.50)"
    assert timed({"wrong": "one image at a time"}) == "one image at a time"
    assert timed(None) == "–"


def test_left_out_cells_are_shown() -> None:
    row = methods_row()
    del row["sides"]
    row["left_out"] = "a round would take about 99 s"
    lines = "\n".join(CASES["methods"].tables([methods_row(), row]))
    assert "left out: a round would take about 99 s" in lines
    assert "| 12.5 (0.80) |" in lines


def test_quotations_are_renewed(results: Path) -> None:
    page = "before\n<!-- results: abacus methods -->\nstale\n<!-- end of results -->\nafter\n"
    renewed = quotes.renewed(page, results)
    assert "stale" not in renewed
    assert Results.read(results / "abacus.json").part("methods") in renewed
    assert renewed.startswith("before\n")
    assert renewed.endswith("after\n")
    assert quotes.renewed(renewed, results) == renewed
    assert "Not measured yet" in quotes.renewed(page.replace("methods", "sharing"), results)


def test_the_documentation_quotes_the_committed_results() -> None:
    pages = list(quotes.pages())
    assert any(page.name == "benchmarks.md" for page in pages)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert quotes.renewed(text, FOLDER) == text


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_committed_tables_are_those_of_the_committed_figures(path: Path, tmp_path: Path) -> None:
    Results.read(path).write(tmp_path, path.stem)
    assert (tmp_path / f"{path.stem}.md").read_text() == path.with_suffix(".md").read_text()
    assert json.loads((tmp_path / path.name).read_text()) == json.loads(path.read_text())


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


def test_a_figure_of_the_largest_batch() -> None:
    sides = {"torchattr": {"images": 300}, "captum": {"images": 30, "times_as_many": 10.0}}
    row: Row = {"name": "largest batch", "network": "resnet50", "budget_mib": 8192, "sides": sides}
    assert plots.scale([row]) is not None
    assert "300" in "\n".join(CASES["scale"].tables([_with_inference(row)]))


def _with_inference(row: Row) -> dict[str, Any]:
    return {**row, "sides": {**row["sides"], "inference": {"images": 320}}}


def test_nothing_to_draw_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Results(MACHINE, {}, {}).write(tmp_path, "abacus")
    assert plots.draw_all(tmp_path, tmp_path / "images") == []
    assert "nothing to draw of methods" in capsys.readouterr().out

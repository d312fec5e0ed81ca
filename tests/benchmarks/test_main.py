"""A run renews what it measures and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import __main__ as command
from benchmarks.__main__ import sections
from benchmarks.cases import CASES
from benchmarks.cases.base import Case, Row
from benchmarks.report.results import Results
from benchmarks.settings import Settings
from benchmarks.tasks import METHODS


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
    assert "are meaningless" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "unknown case 'nonsense'; available: kernels, methods"),
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
    assert "no GPU available to PyTorch" in capsys.readouterr().err


class Counted(Case):
    """Measures nothing, and records its settings."""

    name = title = "counted"

    def run(self, settings: Settings) -> Iterator[dict[str, Any]]:
        for network in settings.networks:
            for method in settings.methods:
                for batch in settings.batches:
                    yield counted(network, method, batch, is_new=True)

    def tables(self, rows: Sequence[Row]) -> list[str]:
        return []


def counted(network: str, method: str, batch: int, is_new: bool) -> dict[str, Any]:
    return {"network": network, "method": method, "batch": batch, "is_new": is_new}


BEFORE = [
    counted(network, method, batch, is_new=False)
    for network in ("vgg16", "alexnet")
    for method in METHODS
    for batch in (1, 8, 64)
]


@pytest.mark.parametrize(
    ("asked", "renewed"),
    [
        ({"networks": ("vgg16",), "largest": 8}, len(METHODS) * 2),
        ({"networks": ("vgg16",), "methods": ("GradCAM",)}, 3),
        ({"networks": ("vgg16", "alexnet"), "methods": ("Deconvolution", "GradCAM")}, 12),
    ],
)
def test_rows_that_a_run_leaves_out_stay(asked: dict[str, Any], renewed: int) -> None:
    settings = Settings(torch.device("cpu"), **asked)
    *_, last = sections(Counted(), settings, BEFORE)
    assert [row | {"is_new": False} for row in last["rows"]] == BEFORE
    new = [row for row in last["rows"] if row["is_new"]]
    assert len(new) == renewed
    assert all(settings.renews(row) for row in new)


def test_a_run_that_is_cut_off_keeps_what_it_has() -> None:
    settings = Settings(torch.device("cpu"), networks=("vgg16",))
    growing = sections(Counted(), settings, BEFORE)
    before = len([row for row in BEFORE if row["network"] == "alexnet"])
    assert [len(next(growing)["rows"]) for _ in range(3)] == [before, before + 1, before + 2]

"""The committed results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.report.results import FOLDER, Results


def test_what_is_missing_is_said(results: Path) -> None:
    found = Results.read(results / "abacus.json")
    found.sections["prepare"] = {"skipped": "there is nothing to prepare"}
    assert "Left out: there is nothing to prepare." in found.part("prepare")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_committed_tables_are_those_of_the_committed_figures(path: Path, tmp_path: Path) -> None:
    Results.read(path).write(tmp_path, path.stem)
    assert (tmp_path / f"{path.stem}.md").read_text() == path.with_suffix(".md").read_text()
    assert json.loads((tmp_path / path.name).read_text()) == json.loads(path.read_text())

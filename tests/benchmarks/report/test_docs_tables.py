"""Tables in the documentation are those of the results."""

from __future__ import annotations

from pathlib import Path

from benchmarks.report import docs_tables
from benchmarks.report.results import FOLDER, Results


def test_quotations_are_renewed(results: Path) -> None:
    page = "before\n<!-- results: abacus methods -->\nstale\n<!-- end of results -->\nafter\n"
    renewed = docs_tables.renewed(page, results)
    assert "stale" not in renewed
    assert Results.read(results / "abacus.json").part("methods") in renewed
    assert renewed.startswith("before\n")
    assert renewed.endswith("after\n")
    assert docs_tables.renewed(renewed, results) == renewed
    assert "Not measured yet" in docs_tables.renewed(page.replace("methods", "sharing"), results)


def test_the_documentation_quotes_the_committed_results() -> None:
    pages = list(docs_tables.pages())
    assert any(page.name == "benchmarks.md" for page in pages)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert docs_tables.renewed(text, FOLDER) == text

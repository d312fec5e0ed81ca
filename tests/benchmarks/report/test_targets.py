"""Targets take the worst of their rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from made_up import methods_row, section

from benchmarks.cases import CASES
from benchmarks.report.results import Results
from benchmarks.report.targets import TARGETS, Target, rests_on


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

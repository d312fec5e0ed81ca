"""What happens to the rest when a process dies, an error stays, or time runs out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from benchmarks.gpu import child, running
from benchmarks.gpu.running import Died, rows_of, run
from benchmarks.gpu.scope import scope
from benchmarks.gpu.sections import SECTIONS

CPU = torch.device("cpu")
CELLS = SECTIONS["methods"].cells(scope(CPU))
METHODS = 3


class Made:
    """Measures cells by numbering them, in processes that end after some."""

    def __init__(self, ends: list[int], dies: bool) -> None:
        self.begun: list[int] = []
        self._ends, self._dies = ends, dies

    def __call__(self, name: str, device: torch.device, seconds: float, skip: int) -> Iterator[Any]:
        self.begun.append(skip)
        for number in range(skip, len(CELLS)):
            if number in self._ends and self._dies and number != skip - 1:
                self._ends.remove(number)
                raise Died("the process ended with -6: CUDA error")
            yield [{"number": number}] * METHODS
            if number in self._ends:
                self._ends.remove(number)
                return


def test_a_process_that_dies_costs_one_cell() -> None:
    made = Made([1], dies=True)
    rows = rows_of("methods", CPU, 60.0, made)
    assert made.begun == [0, 2]
    assert [row.get("number") for row in rows[::METHODS]] == [0, None, 2, 3]
    lost = rows[METHODS : 2 * METHODS]
    assert [row["method"] for row in lost] == ["Saliency", "GuidedBackprop", "Deconvolution"]
    assert {row["error"] for row in lost} == {"the process ended with -6: CUDA error"}
    assert {**CELLS[1], "method": "Saliency"}.items() <= lost[0].items()


def test_a_process_that_dies_after_its_last_cell_costs_nothing() -> None:
    def dying(*asked: Any) -> Iterator[Any]:
        yield from [[{"number": number}] * METHODS for number in range(len(CELLS))]
        raise Died("the process ended with -11: it said nothing")

    rows = rows_of("methods", CPU, 60.0, dying)
    assert [row.get("number") for row in rows[::METHODS]] == [0, 1, 2, 3]


def test_after_an_error_that_stays_another_process_goes_on() -> None:
    made = Made([1], dies=False)
    rows = rows_of("methods", CPU, 60.0, made)
    assert made.begun == [0, 2]
    assert [row["number"] for row in rows[::METHODS]] == [0, 1, 2, 3]


def test_what_was_not_reached_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*asked: Any) -> Iterator[Any]:
        if asked[-1] == 0:
            yield [{"number": 0}] * METHODS

    rows = rows_of("methods", CPU, 60.0, stopped)
    assert [row.get("not_reached", False) for row in rows] == [False] * 3 + [True] * 9


def test_sections_share_the_time_and_inherit_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []

    def note(name: str, device: torch.device, seconds: float, measure: Any) -> list[Any]:
        given.append(seconds)
        clock["now"] += 10.0
        return []

    clock = {"now": 0.0}
    monkeypatch.setattr(running.time, "perf_counter", lambda: clock["now"])
    monkeypatch.setattr(running, "rows_of", note)
    names = ["memory", "methods"]
    assert [name for name, _ in run(names, CPU, 130.0, Made([], False))] == names
    share = SECTIONS["memory"].share / (SECTIONS["memory"].share + SECTIONS["methods"].share)
    assert given == [pytest.approx(10 + 110 * share), pytest.approx(120.0)]


def test_an_error_is_a_row_and_the_next_cell_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    section = SECTIONS["methods"]

    def measure(cell: Any, bench: Any, seconds: float) -> list[Any]:
        if cell["batch"] == 1:
            raise RuntimeError("CUDA error: misaligned address\nand more")
        return [{"sides": {}}] * METHODS

    monkeypatch.setattr(type(section), "measure", lambda self, *asked: measure(*asked))
    cells = list(child.measured("methods", CPU, 60.0, 0))
    assert len(cells) == len(CELLS)
    assert cells[0][0]["error"] == "RuntimeError: CUDA error: misaligned address"
    assert "error" not in cells[1][0]


def test_a_device_that_no_longer_works_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "is_usable", lambda device: False)
    monkeypatch.setattr(type(SECTIONS["methods"]), "measure", lambda *asked: [{}] * METHODS)
    assert len(list(child.measured("methods", CPU, 60.0, 1))) == 1

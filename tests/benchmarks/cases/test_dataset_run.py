"""The case `dataset_run`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cases import CASES
from benchmarks.cases.dataset_run import many_ids
from benchmarks.measure.dataset_child import Numbers, memory, tiny, write_pictures
from benchmarks.report.targets import TARGETS

pytest.importorskip("zarr", "3", reason="stores need Zarr 3, which needs Python 3.11")

ROWS = [
    {"name": "overhead, five methods", "pictures": 400, "overhead": 0.05},
    {"name": "overhead, guided_backprop", "pictures": 2000, "overhead": 0.07},
    {"name": "plain script", "pictures": 200, "ratio": 0.5},
    {"name": "memory", "pictures": 20_000, "bytes_per_picture": 12.0},
    {"name": "many ids", "pictures": 1_000_000, "slowest_s": 4.0},
    {"name": "two processes", "pictures": 400, "speedup": 1.9},
]


def test_each_target_finds_its_figure() -> None:
    found = [one for one in TARGETS if one.case == "dataset_run"]
    values = [one.measured({"dataset_run": {"rows": ROWS}}) for one in found]
    assert values == [0.05, 0.07, 0.5, 12.0, 4.0, 1.9]
    assert all(one.is_met(value) for one, value in zip(found, values, strict=True) if value)


def test_the_table_shows_every_row() -> None:
    shown = "\n".join(CASES["dataset_run"].tables(ROWS))
    assert "| two processes | 400 | speedup 1.90 |" in shown


def test_many_ids_are_listed_resumed_and_opened(tmp_path: Path) -> None:
    row = many_ids(tmp_path, 600)
    assert row["slowest_s"] == max(row["listing_s"], row["resume_s"], row["opening_s"]) > 0


def test_memory_is_sampled() -> None:
    assert memory(600)["resident_mib"] > 0


def test_pictures_are_written_once_and_differ(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures", 5)
    contents = {path.read_bytes() for path in folder.iterdir()}
    assert len(contents) == 5
    assert write_pictures(folder, 3) == folder
    assert len(list(folder.iterdir())) == 5


def test_numbers_are_pictures_of_the_tiny_model() -> None:
    assert tiny()(Numbers(3).read(1)[None]).shape == (1, 3)

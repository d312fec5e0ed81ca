"""Processes that are killed at random moments: every id once, and the bits of a run in peace."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from killable import BROKEN, COUNT, LEASES, finish, kill, start

import torchattr as ta

pytest.importorskip("zarr", "3", reason="stores need Zarr 3, which needs Python 3.11")

KILLS = 100


def objects(root: Path) -> dict[str, bytes]:
    found = [path for path in root.rglob("*") if path.is_file() and "rows" not in path.parts]
    whole = {str(path.relative_to(root)): path.read_bytes() for path in found}
    return {name: content for name, content in whole.items() if not name.endswith(".part")}


def has_all(root: Path) -> bool:
    maps = ta.open_maps(root)
    positions = maps.rows.column("position").to_pylist()
    return positions == list(range(COUNT)) and len(maps.finished) == COUNT - len(BROKEN)


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    finish(start(0, 1, tmp_path / "whole.zarr"))
    whole = objects(tmp_path / "whole.zarr")
    chance, kills, number = random.Random(0), 0, 0
    while kills < KILLS:
        out, world = tmp_path / f"{number}.zarr", chance.choice((1, 2, 3))
        processes = [start(rank, world, out) for rank in range(world)]
        time.sleep(chance.uniform(0, 0.8))
        killed = sum(map(kill, processes))
        kills += killed
        if not killed:  # All is done: the next ones begin another store.
            assert objects(out) == whole
            number += 1
    finish(start(0, 1, out))
    assert objects(out) == whole
    assert has_all(out)


@pytest.mark.slow
def test_processes_with_leases_come_and_go(tmp_path: Path) -> None:
    out = tmp_path / "maps.zarr"
    first, second = start(0, LEASES, out), start(0, LEASES, out)
    time.sleep(1)
    kill(first)
    finish(second)
    for lease in (out / "leases").iterdir():
        os.utime(lease, (0, 0))
    finish(start(0, LEASES, out))
    assert has_all(out)
    assert list((out / "leases").iterdir()) == []

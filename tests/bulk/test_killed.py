"""Processes that are killed at random moments: every id once, and the bits of a run in peace."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import torchattr as ta

pytest.importorskip("zarr", "3", reason="stores need Zarr 3, which needs Python 3.11")

KILLS = 24
COUNT, SHARD = 240, 4

SCRIPT = f"""
import sys
import time
import torch
import torchattr as ta
from torch import nn
from torchattr.bulk import Pictures
from torchattr.errors import ImageError


class Slow(Pictures):
    def ids(self):
        return [f"{{number:04d}}" for number in range({COUNT})]

    def read(self, position):
        time.sleep(0.005)
        if position % 50 == 7:
            raise ImageError(f"{{position}} is broken")
        return torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(position))


torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3)
).eval()
rank, world, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
where = {{"leases": True}} if world == 0 else {{"rank": rank, "world": world}}
methods = {{"guided_backprop": {{}}, "rise": {{"n_masks": 8}}}}
print("ready", flush=True)
ta.run(
    *(model, Slow(), methods, "top2"),
    out=out,
    shard_size={SHARD},
    batch_size=3,
    workers=1,
    watch=lambda progress: None,
    **where,
)
"""


def start(rank: int, world: int, out: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(rank), str(world), str(out)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finished(process: subprocess.Popen) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()


def kill(process: subprocess.Popen) -> bool:
    """Kill a process and those that read for it; whether it was still running."""
    was_running = process.poll() is None
    os.killpg(process.pid, signal.SIGKILL) if was_running else None
    process.communicate()
    return was_running


def objects(root: Path) -> dict[str, bytes]:
    found = [path for path in root.rglob("*") if path.is_file() and "rows" not in path.parts]
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


@pytest.mark.slow
def test_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    finished(start(0, 1, tmp_path / "whole.zarr"))
    whole = objects(tmp_path / "whole.zarr")
    chance, kills, out = random.Random(0), 0, tmp_path / "killed.zarr"
    while kills < KILLS:
        world = chance.choice((1, 2, 3))
        processes = [start(rank, world, out) for rank in range(world)]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        time.sleep(chance.uniform(0, 0.5))
        kills += sum(map(kill, processes))
    finished(start(0, 1, out))
    assert objects(out) == whole
    maps = ta.open_maps(out)
    assert maps.rows.column("position").to_pylist() == list(range(COUNT))
    assert len(maps.finished) == COUNT - len(range(7, COUNT, 50))


@pytest.mark.slow
def test_processes_with_leases_come_and_go(tmp_path: Path) -> None:
    out = tmp_path / "maps.zarr"
    first, second = start(0, 0, out), start(0, 0, out)
    assert first.stdout is not None
    first.stdout.readline()
    time.sleep(0.5)
    kill(first)
    finished(second)
    for lease in (out / "leases").iterdir():
        os.utime(lease, (0, 0))
    finished(start(0, 0, out))
    maps = ta.open_maps(out)
    assert maps.rows.column("position").to_pylist() == list(range(COUNT))

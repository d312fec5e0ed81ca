"""A run in a process that can be killed; forked from one that has imported everything."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import ImageError

COUNT, SHARD = 320, 4
BROKEN = range(7, COUNT, 50)
LEASES = 0
"""Stands for the number of processes where shards are taken by leases."""


class SlowPictures(ta.Pictures):
    """Pictures that take some time to be read; some cannot be."""

    def ids(self) -> list[str]:
        return [f"{number:04d}" for number in range(COUNT)]

    def read(self, position: int) -> Tensor:
        time.sleep(0.002)
        if position in BROKEN:
            raise ImageError(f"{position} is broken")
        return torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(position))


def work(rank: int, world: int, out: Path) -> None:
    """Work on a share of the pictures, in a process group of its own."""
    os.setsid()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 3))
    methods = {"guided_backprop": {}, "rise": {"n_masks": 8}}
    ta.run(
        *(nn.Sequential(*layers).eval(), SlowPictures(), methods, "top2"),
        **({"leases": True} if world == LEASES else {"rank": rank, "world": world}),
        out=out,
        shard_size=SHARD,
        batch_size=3,
        workers=1,
        watch=lambda progress: None,
    )


def start(rank: int, world: int, out: Path) -> BaseProcess:
    """Start a process that works."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["killable", "zarr", "pyarrow.parquet"])
    process = context.Process(target=work, args=(rank, world, out))
    process.start()
    return process


def kill(process: BaseProcess) -> bool:
    """Kill a process and those that read for it; return whether it was still at work."""
    with suppress(ProcessLookupError):  # It may not have its own group yet.
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.kill()
    process.join()
    return process.exitcode != 0


def finish(process: BaseProcess) -> None:
    """Wait until a process has ended by itself."""
    process.join(120)
    assert process.exitcode == 0, process.exitcode

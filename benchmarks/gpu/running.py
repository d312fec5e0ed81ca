"""Run sections in child processes: one that dies costs one cell, and the rest goes on."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from threading import Timer
from typing import Any

import torch

from benchmarks.cases.base import Row
from benchmarks.gpu.child import MARK
from benchmarks.gpu.scope import scope
from benchmarks.gpu.sections import SECTIONS
from benchmarks.measure.child import ROOT

GRACE = 45.0
"""Seconds beyond its time after which a child is stopped: its start, and its last cell."""
START = 10.0
"""Seconds that a child may need before it measures anything."""

Measure = Callable[[str, torch.device, float, int], Iterator[Any]]
"""Yields the rows of each cell after some; raises `Died` if the process ended by an error."""


class Died(Exception):
    """A child process ended by an error, or was stopped."""


def in_child(name: str, device: torch.device, seconds: float, skip: int) -> Iterator[Any]:
    """Measure the cells of a section in a child process."""
    options = [name, f"--device={device}", f"--seconds={seconds}", f"--skip={skip}"]
    command = [sys.executable, "-m", "benchmarks.gpu.child", *options]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as child,
    ):
        stopping = Timer(seconds + GRACE, child.kill)
        stopping.start()
        try:
            for line in child.stdout or ():
                if line.startswith(MARK):
                    yield json.loads(line.removeprefix(MARK))
            if child.wait():
                raise Died(_why(child.returncode, errors))
        finally:
            stopping.cancel()
            child.kill()


def _why(code: int, errors: Any) -> str:
    errors.seek(0)
    said = errors.read().strip().splitlines()
    return f"the process ended with {code}: {said[-1][:300] if said else 'it said nothing'}"


def run(
    names: Sequence[str], device: torch.device, seconds: float, measure: Measure = in_child
) -> Iterator[tuple[str, list[Row]]]:
    """Yield each section with its rows; what a section does not use is left to the next ones.

    Args:
        names: the sections, in order.
        device: the device to measure.
        seconds: the time for all of them.
        measure: measures cells of one section.
    """
    end = time.perf_counter() + seconds
    for number, name in enumerate(names):
        shares = [SECTIONS[one].share for one in names[number:]]
        left = end - time.perf_counter() - START * len(shares)
        yield name, rows_of(name, device, START + left * shares[0] / sum(shares), measure)


def rows_of(name: str, device: torch.device, seconds: float, measure: Measure) -> list[Row]:
    """Return a row for everything in a section: with figures, an error, or as not reached."""
    section, asked = SECTIONS[name], scope(device)
    cells = section.cells(asked)
    found: list[Row] = []
    done, end = 0, time.perf_counter() + seconds
    while done < len(cells):
        left, before = end - time.perf_counter() - START, done
        if left <= 0:
            break
        try:
            for rows in measure(name, device, left, done):
                found += rows
                done += 1
        except Died as died:
            # It may also die after its last cell, which then costs nothing.
            for cell in cells[done : done + 1]:
                found += [{**row, "error": str(died)} for row in section.rows(cell, asked)]
            done += 1
        if done == before:
            break
    missing = [row for cell in cells[done:] for row in section.rows(cell, asked)]
    return [*found, *({**row, "not_reached": True} for row in missing)]

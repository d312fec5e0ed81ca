"""Measure the cells of one section, in a process of its own.

Each cell's rows are printed as soon as they are known, so that what comes later cannot lose them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.gpu.scope import scope
from benchmarks.gpu.sections import SECTIONS, Bench

MARK = "@rows "
"""Begins the lines that are results; libraries may print others."""


def measured(name: str, device: torch.device, seconds: float, skip: int) -> Iterator[Any]:
    """Yield the rows of each cell of a section after the first `skip`, while time is left.

    Ends after an error that leaves the GPU unusable for this process.
    """
    section, asked = SECTIONS[name], scope(device)
    cells = section.cells(asked)[skip:]
    bench = Bench(asked, seconds, len(cells), section.shortest)
    for cell in cells:
        if bench.is_over:
            return
        rows = section.rows(cell, asked)
        try:
            figures = section.measure(cell, bench, bench.next_cell())
        except Exception as error:  # noqa: BLE001 - whatever fails is one row of the table
            figures = [{"error": described(error)}] * len(rows)
        yield [{**row, **found} for row, found in zip(rows, figures, strict=True)]
        if not is_usable(device):
            return


def described(error: Exception) -> str:
    """Return an error's type and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}".rstrip(": ")


def is_usable(device: torch.device) -> bool:
    """Whether the device still works; some errors of CUDA remain until the process ends."""
    if device.type != "cuda":
        return True
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.child", description=__doc__)
    parser.add_argument("section", choices=SECTIONS)
    parser.add_argument("--device", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--skip", type=int, default=0)
    options = parser.parse_args(arguments)
    asked = options.section, torch.device(options.device), options.seconds, options.skip
    for rows in measured(*asked):
        print(f"{MARK}{json.dumps(rows)}", flush=True)
    sys.stdout.flush()
    os._exit(0)  # Destructors of a broken GPU's objects may hang.


if __name__ == "__main__":
    main()

"""Measure every target of a GPU within minutes: `python -m benchmarks.gpu`.

Prints each target beside what was measured, and writes all figures as JSON.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from benchmarks.gpu.running import Measure, in_child, run
from benchmarks.gpu.sections import SECTIONS
from benchmarks.gpu.targets import as_table
from benchmarks.measure.machine import circumstances, machine, stem
from benchmarks.report.results import FOLDER, Results
from benchmarks.report.text import say

MINUTES = 7.5
RESERVE = 10.0
"""Seconds for the start of this process and the end of the last child."""
NO_GPU = "There is no GPU that PyTorch can use, so there is nothing to measure."


def main(arguments: list[str] | None = None, measure: Measure = in_child) -> int:
    """Return 0, or 2 without a GPU."""
    begun = time.perf_counter()
    options = _options(arguments)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(NO_GPU, file=sys.stderr)
        return 2
    path = _path(options.out, device)
    results = Results.read(path) if path and path.exists() else Results(machine(device))
    measured = {}
    seconds = 60 * options.minutes - RESERVE
    for name, rows in run(options.only, device, seconds, measure):
        section = SECTIONS[name].name
        measured[section] = {"measured": circumstances(device, ["captum"]), "rows": rows}
        results.sections[section] = measured[section]
        say(results.part(section))
        if path:
            results.write(path.parent, path.stem)
    say("\n".join(["## Targets", "", *as_table(measured)]))
    written = f" Written to {path}." if path else ""
    say(f"Took {time.perf_counter() - begun:.0f} s.{written}")
    return 0


def _path(out: Path | None, device: torch.device) -> Path | None:
    """Return the file to write; none without a GPU, unless one is named."""
    if out is not None or device.type != "cuda":
        return out
    return FOLDER / f"{stem(machine(device))}.json"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument(
        "--only",
        type=_sections,
        default=list(SECTIONS),
        metavar="SECTION[,SECTION]",
        help=", ".join(SECTIONS),
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help="how long it may take")
    parser.add_argument("--out", type=Path, help=f"JSON file (default: {FOLDER.name}/<GPU>.json)")
    # A tiny run on a CPU shows that everything works; its times are meaningless.
    parser.add_argument("--device", default="cuda", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _sections(text: str) -> list[str]:
    """Return the sections in the order in which they run."""
    names = text.split(",")
    for name in names:
        if name not in SECTIONS:
            known = ", ".join(SECTIONS)
            raise argparse.ArgumentTypeError(f"unknown section {name!r}; available: {known}")
    return [name for name in SECTIONS if name in names]


if __name__ == "__main__":
    sys.exit(main())

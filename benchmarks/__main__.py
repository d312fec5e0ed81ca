"""Check, measure and write the tables: `python -m benchmarks [CASE ...]`.

Without a case, all of them run. Two more words use the committed results only: `plots` draws
figures for the documentation, and `docs` copies the tables into it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.cases import CASES
from benchmarks.cases.base import Case
from benchmarks.measure.machine import circumstances, machine, same_precision_for_all, stem
from benchmarks.peers import PEERS
from benchmarks.report import docs_tables
from benchmarks.report.results import FOLDER, Results
from benchmarks.report.text import say
from benchmarks.settings import NETWORKS, Settings
from benchmarks.tasks import METHODS, TITLES

AFTERWARDS = ("plots", "docs")


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    if "plots" in options.case:
        from benchmarks.report.plots import draw_all

        draw_all(options.out or FOLDER)
    if "docs" in options.case:
        docs_tables.renew(options.out or FOLDER)
    chosen = [case for case in options.case if case not in AFTERWARDS]
    if chosen or not options.case:
        measure(chosen or list(CASES), options)


def measure(chosen: list[str], options: argparse.Namespace) -> None:
    """Run cases, and update their sections in the results of this machine."""
    torch.set_num_threads(options.threads)
    same_precision_for_all(options.tf32)
    settings = Settings(
        torch.device(options.device),
        options.rounds,
        options.quick,
        tuple(options.network or NETWORKS),
        options.largest_batch,
        options.whole,
        tuple(options.method or METHODS),
    )
    folder = options.out or (None if options.quick else FOLDER)
    described = machine(settings.device)
    path = None if folder is None else folder / f"{stem(described)}.json"
    results = Results.read(path) if path and path.exists() else Results(described)
    for name in chosen:
        say(f"== {name}")
        is_part = options.network or options.method
        before = results.sections.get(name, {}).get("rows", []) if is_part else []
        for made in sections(CASES[name], settings, before):
            results.sections[name] = made
            if folder:
                results.write(folder, stem(described))
        say(results.part(name))
    say(results.part("targets"))
    if options.quick:
        say("This was a quick run: its times are meaningless.")


def sections(case: Case, settings: Settings, before: list[Any]) -> Iterator[dict[str, Any]]:
    """Measure a case and yield its section as it grows, so that an interrupted run keeps its rows.

    Earlier rows that the case does not renew stay.
    """
    missing = case.missing(settings)
    if missing:
        yield {"skipped": missing}
        return
    rows = [row for row in before if not settings.renews(row)]
    measured = circumstances(settings.device, [peer.name for peer in PEERS])
    yield {"measured": measured, "rows": _in_order(rows)}
    for row in case.run(settings):
        rows.append(row)
        yield {"measured": measured, "rows": _in_order(rows)}


def _in_order(rows: list[Any]) -> list[Any]:
    """Sort rows by network, method and batch."""
    networks = list(dict.fromkeys(row.get("network") for row in rows))

    def order(row: Any) -> tuple[int, int, int]:
        method = METHODS.index(row["method"]) if "method" in row else 0
        return networks.index(row.get("network")), method, row.get("batch", 0)

    return sorted(rows, key=order)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("case", nargs="*", metavar="CASE", help=", ".join([*CASES, *AFTERWARDS]))
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    parser.add_argument(
        "--rounds", type=int, default=5, help="number of rounds for figures with a target"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--network",
        action="append",
        choices=TITLES,
        help="methods and incremental: measure only this network, keep other rows; repeatable",
    )
    parser.add_argument(
        "--method",
        action="append",
        choices=METHODS,
        help="methods: measure only this method, keep other rows; repeatable",
    )
    parser.add_argument(
        "--largest-batch",
        type=int,
        help="methods: no larger batch; with --network, larger ones keep their rows",
    )
    parser.add_argument("--whole", action="store_true", help="incremental: stop no side early")
    parser.add_argument("--quick", action="store_true", help="tiny, to check that everything runs")
    parser.add_argument("--tf32", action="store_true", help="use TF32 on a GPU, for all sides")
    parser.add_argument(
        "--out", type=Path, help=f"folder for the results (default: {FOLDER.name}/)"
    )
    options = parser.parse_args(arguments)
    _check(parser, options)
    return options


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Reject options that cannot work before anything runs."""
    known = [*CASES, *AFTERWARDS]
    for case in options.case:
        if case not in known:
            parser.error(f"unknown case {case!r}; available: {', '.join(known)}")
    if options.rounds < 1 or options.threads < 1:
        parser.error("--rounds and --threads must be at least 1")
    if not options.device.startswith(("cpu", "cuda")):
        parser.error(f"--device must be cpu or cuda, got {options.device!r}")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("--device cuda: no GPU available to PyTorch")


if __name__ == "__main__":
    sys.exit(main())

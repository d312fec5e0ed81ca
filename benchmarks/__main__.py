"""Measure torchattr against Captum and write the tables.

Each case is checked first: both libraries must give the same result in float64, or there is no
time. Then both, and the floor, run by turns in this process.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.measure import by_turns, machine, ratio, remembered_bytes, state
from benchmarks.peers import METHODS, floor, network, pair

RESULTS = Path(__file__).parent / "results"
AGREEMENT = 1e-9
MIB = 2**20


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    rows = [row for name in options.network for row in measure(name, options)]
    report = {**machine(), "captum": version("captum"), "rows": rows}
    table = as_markdown(report)
    print(table)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        stem = re.sub(r"\W+", "-", f"{report['processor']} {options.threads} threads").lower()
        (options.out / f"{stem}.json").write_text(json.dumps(report, indent=2) + "\n")
        (options.out / f"{stem}.md").write_text(table + "\n")


def measure(name: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Check and time every method on one network."""
    model = network(name)
    images = torch.randn(options.batch, 3, 224, 224)
    bytes_ours, bytes_peer = _remembered(model, name)
    rows = []
    for method in METHODS:
        difference = _difference(model, name, method)
        if difference > AGREEMENT:
            raise SystemExit(f"{method} on {name} differs by {difference:.1e} from Captum's")
        both = pair(model, name, method, images)
        runs = {"ours": both.ours, "captum": both.peer, "floor": floor(model, images)}
        times = by_turns(runs, options.rounds)
        rows.append(
            {
                "network": name,
                "method": method,
                "batch": options.batch,
                "difference": difference,
                **{f"{side}_ms": 1e3 * median(taken) for side, taken in times.items()},
                "to_captum": ratio(times, "ours", "captum"),
                "to_floor": ratio(times, "ours", "floor"),
                "rounds": options.rounds,
                "remembered_mib": bytes_ours[method] / MIB,
                "captum_remembered_mib": bytes_peer[method] / MIB,
            }
        )
        print(f"{name} {method}: {rows[-1]['to_captum']:.3f} of Captum's time", flush=True)
    return rows


def as_markdown(report: dict[str, Any]) -> str:
    """Give the figures as a table, with where they come from below."""
    lines = [
        "| network | method | torchattr, ms | Captum, ms | time, of Captum's | time, of the floor"
        " | remembered, MiB per image | Captum, MiB per image |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['network']} | {row['method']} | {row['ours_ms']:.0f} | {row['captum_ms']:.0f}"
        f" | {row['to_captum']:.2f} | {row['to_floor']:.2f}"
        f" | {row['remembered_mib']:.2f} | {row['captum_remembered_mib']:.1f} |"
        for row in report["rows"]
    ]
    first = report["rows"][0]
    lines += [
        "",
        f"Batch {first['batch']} at 224 px, float32, {report['threads']} threads of"
        f" {report['processor']}; torch {report['torch']}, captum {report['captum']}, Python"
        f" {report['python']}. Medians of {first['rounds']} rounds in which all run by turns in"
        " one process; ratios are medians of the ratio in each round. The floor is the forward and"
        " the backward to the input of the same network with frozen weights.",
    ]
    return "\n".join(lines)


def _difference(model: Any, name: str, method: str) -> float:
    """Give the largest difference of the two results in float64, relative to the largest value."""
    images = torch.randn(1, 3, 224, 224, dtype=torch.float64)
    both = pair(copy.deepcopy(model).double(), name, method, images)
    ours, peer = both.ours(), both.peer()
    return float((ours - peer).abs().max() / peer.abs().max())


def _remembered(model: Any, name: str) -> tuple[dict[str, int], dict[str, int]]:
    images = torch.randn(1, 3, 224, 224)
    ours, peer = {}, {}
    for method in METHODS:
        both = pair(model, name, method, images)
        ours[method] = remembered_bytes(both.ours, state(both.ours_model))
        peer[method] = remembered_bytes(both.peer, state(both.peer_model))
    return ours, peer


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--network", nargs="+", default=["resnet50", "vgg16"])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the tables go")
    return parser.parse_args()


if __name__ == "__main__":
    main()

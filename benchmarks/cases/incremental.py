"""Ablation that recomputes only what a change can reach, against whole forwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch

from benchmarks.cases.ablation import ALLOWED, CHECKED
from benchmarks.cases.base import Case, Row
from benchmarks.measure.child import GIVING_BACK, KEEPING, alone
from benchmarks.peers.captum import ROWS_AT_ONCE
from benchmarks.report.text import number, say, table
from benchmarks.settings import Settings

ASKED: Mapping[str, tuple[str, ...]] = {
    "vgg16": ("16/8", "8/4", "100 superpixels"),
    "resnet18": ("16/8", "8/4"),
    "resnet50": ("16/8", "8/4", "100 superpixels"),
    "mobilenet_v2": ("16/8", "8/4"),
}
"""The tasks of each network: a window and its stride in pixels, or superpixels."""

QUICKLY: Mapping[str, tuple[str, ...]] = {"resnet18": ("16/8", "12 superpixels")}
"""The tasks of a quick run."""

CURVE = ("8/8", "16/16", "32/32", "64/27", "112/19")
"""Windows for the figure: about 49 positions, more where a larger stride would leave gaps."""
CURVE_NETWORKS = ("resnet18", "vgg16")

WEIGHED = ("16/8",)
"""The tasks whose memory is measured."""

ROUNDS = 3
"""Maximum number of rounds: a run is long, and its time a mean over all positions already."""
SECONDS = 3.0
"""When full forwards are stopped, unless `--whole` is given."""

SIDES = {"torchattr": "torchattr", "dense": "`incremental=False`", "captum": "Captum"}
GROWN = ("torchattr", "captum")


class Incremental(Case):
    name = "incremental"
    title = "Incremental ablation"
    how = "Times are medians over the rounds, ratios medians of the ratio in each round."

    def missing(self, settings: Settings) -> str | None:
        return None if find_spec("skimage") else "scikit-image is not installed"

    def run(self, settings: Settings) -> list[dict[str, Any]]:
        asked = QUICKLY if settings.quick else ASKED
        rows = []
        for network in settings.among(asked):
            rows += _weighed(_timed(network, asked[network], settings), settings)
        for network in settings.among(CURVE_NETWORKS[: len(asked)]):
            rows += _curve(network, CURVE[2:3] if settings.quick else CURVE, settings)
        return rows

    def tables(self, rows: Sequence[Row]) -> list[str]:
        cells = [row for row in rows if "curve" not in row]
        return [*_explained(), "", *_times(cells), *_memory(cells), *_curve_table(rows)]


def _timed(network: str, asked: Sequence[str], settings: Settings) -> list[dict[str, Any]]:
    rounds = 1 if settings.quick else min(settings.rounds, ROUNDS)
    arguments = ["time", *_what(asked), f"--rounds={rounds}", *_common(network, settings)]
    rows: list[dict[str, Any]] = alone("benchmarks.cases.ablation", arguments, KEEPING)
    for row in rows:
        told = (f"{name} {_time(side)}" for name, side in row["sides"].items())
        say(f"{network} {row['what']}:", ", ".join(told))
    return rows


def _weighed(rows: list[dict[str, Any]], settings: Settings) -> list[dict[str, Any]]:
    """Add the growth of a process's memory, torchattr's and Captum's."""
    for row in rows:
        if row["what"] in WEIGHED:
            sides = {name: row["sides"][name] for name in ("torchattr", "captum")}
            if not any("wrong" in side for side in sides.values()):
                for name, side in sides.items():
                    side["growth_mib"] = _growth(row["network"], row["what"], name, settings)
                ours, captums = (side["growth_mib"] for side in sides.values())
                sides["captum"]["growth_ratio"] = ours / captums
                say(f"{row['network']} {row['what']}: {ours:.0f} MiB, Captum {captums:.0f} MiB")
    return rows


def _growth(network: str, what: str, side: str, settings: Settings) -> float:
    arguments = ["growth", *_what([what]), f"--sides={side}", *_common(network, settings)]
    found: float = alone("benchmarks.cases.ablation", arguments, GIVING_BACK)
    return found


def _curve(network: str, asked: Sequence[str], settings: Settings) -> list[dict[str, Any]]:
    """Time windows of several sizes, once each after a run that checks them."""
    arguments = ["time", *_what(asked), *_common(network, settings)]
    rows = alone(
        "benchmarks.cases.ablation", [*arguments, "--sides", "torchattr", "dense"], KEEPING
    )
    say(f"{network}, {len(rows)} sizes of windows")
    return [{**row, "curve": int(row["what"].split("/")[0])} for row in rows]


def _what(asked: Sequence[str]) -> list[str]:
    return [f"--what={one}" for one in asked]


def _common(network: str, settings: Settings) -> list[str]:
    """Return the options of all child processes; a GPU is fast enough for all positions."""
    seconds = 0.0 if settings.whole or settings.on_gpu else 0.1 if settings.quick else SECONDS
    return [
        f"--network={network}",
        f"--seconds={seconds}",
        f"--size={settings.size}",
        f"--threads={torch.get_num_threads()}",
        f"--device={settings.device}",
    ]


def _explained() -> list[str]:
    return [
        "One real image, float32. Time in ms per position, averaged over all positions; in brackets"
        " the time as a multiple of torchattr's. Captum uses"
        f" `perturbations_per_eval={ROWS_AT_ONCE}`; `incremental=False` is torchattr with full"
        " forwards. All forwards of these two cost the same, so their runs are stopped after"
        f" {SECONDS:g} s and extrapolated (a fixed cost and one per position) to all positions; the"
        " table says after how many."
        " torchattr runs all positions. All sides alternate in one process, whose allocator returns"
        " nothing to the system: none pays for page faults. The bound is the multiply-adds of"
        " full forwards over those that the positions can reach; torchattr can beat it where it"
        " needs fewer multiplications for a convolution. Each side's scores were first compared"
        f" with those of up to {CHECKED} positions computed independently: the difference is"
        f" torchattr's, relative to the range of these scores; above {ALLOWED:g} a side gets"
        " no time.",
    ]


def _times(rows: Sequence[Row]) -> list[str]:
    head = ["network", "window/stride", "positions", *SIDES.values(), "last two stopped after"]
    lines = (
        [
            row["network"],
            row["what"],
            str(row["places"]),
            *(_time(row["sides"].get(name)) for name in SIDES),
            ", ".join(_looked_at(row, name) for name in ("dense", "captum")),
            number(row["bound"]),
            f"{row['sides']['torchattr']['difference']:.1e}",
            str(row["rounds"]),
        ]
        for row in rows
    )
    return table([*head, "bound", "difference", "rounds"], lines)


def _looked_at(row: Row, name: str) -> str:
    seen = row["sides"].get(name, {}).get("looked_at")
    return "–" if seen is None else "none" if seen == row["places"] else str(seen)


def _time(side: Any) -> str:
    if side is None or "wrong" in side:
        return "–" if side is None else str(side["wrong"])
    return number(side["ms"]) + (f" ({number(side['times'])} ×)" if "times" in side else "")


def _memory(rows: Sequence[Row]) -> list[str]:
    weighed = [row for row in rows if "growth_ratio" in row["sides"].get("captum", {})]
    if not weighed:
        return []
    text = (
        "Growth of memory during a run in MiB; in brackets torchattr's as a share of"
        " Captum's. Each figure comes from a separate process, whose allocator returns memory"
        " at once."
    )
    lines = (
        [row["network"], row["what"], *(_grown(row["sides"][name]) for name in GROWN)]
        for row in weighed
    )
    return [text, "", *table(["network", "window/stride", *(SIDES[name] for name in GROWN)], lines)]


def _grown(side: Mapping[str, Any]) -> str:
    share = f" ({number(side['growth_ratio'])})" if "growth_ratio" in side else ""
    return number(side["growth_mib"]) + share


def _curve_table(rows: Sequence[Row]) -> list[str]:
    curve = [row for row in rows if "curve" in row]
    return ["Windows of several sizes, one round each:", "", *_times(curve)] if curve else []

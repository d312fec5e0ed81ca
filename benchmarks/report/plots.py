"""The figures of the documentation, drawn from the committed results and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report.text import say
from benchmarks.tasks import TITLES
from torchattr.evaluate.ground_truth.figures import plot_agreement, plot_matrix

IMAGES = Path(__file__).parents[2] / "docs" / "images"
COLOURS = {
    "torchattr": "#0b6e99",
    "captum": "#d9822b",
    "grad-cam": "#8a5fa8",
    "zennit": "#5b8c3a",
    "torchcam": "#b0413e",
    "floor": "#9aa3ad",
    "inference": "#9aa3ad",
    "eager": "#9aa3ad",
    "compiled": "#5b8c3a",
    "dense": "#d9822b",
    "bound": "#9aa3ad",
}
BACKENDS = ("#0b6e99", "#33a1c9", "#d9822b", "#8a5fa8")
PLAIN = {"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "torchattr"}

Section = Mapping[str, Any]


def draw_all(results: Path, out: Path = IMAGES) -> list[Path]:
    """Draw the figures of each machine's results; return the files."""
    written = []
    for path in sorted(results.glob("*.json")):
        sections = json.loads(path.read_text())["sections"]
        for name, draw in DRAWN.items():
            rows = sections.get(name, {}).get("rows")
            figure = draw(rows) if rows else None
            if figure is None:
                say(f"{path.stem}: nothing to draw of {name}")
            else:
                written += _save(figure, out, f"benchmarks-{path.stem}-{name}")
    return written


def kernels(rows: Sequence[Section]) -> Figure | None:
    """Each operation's bandwidth, as a share of a copy's."""
    shown = [
        row
        for row in rows
        if row["dtype"] == "float32" and row["memory"] == "contiguous" and "wrong" not in row
    ]
    if not shown:
        return None
    names = list(dict.fromkeys(row["operation"] for row in shown))
    backends = list(dict.fromkeys(row["backend"] for row in shown))
    series: dict[str, dict[str, float]] = {
        backend: {r["operation"]: r["of_copy"] for r in shown if r["backend"] == backend}
        for backend in backends
    }
    for beside in ("eager", "compiled"):
        figure = f"{beside}_of_copy"
        series[beside] = {r["operation"]: r[figure] for r in shown if figure in r}
    colours = {**dict(zip(backends, BACKENDS, strict=False)), **COLOURS}
    figure, axes = _page(1, height=0.9 + 0.17 * len(names) * (len(series) + 1))
    _bars(axes[0], names, series, colours, "{:.0%}")
    axes[0].axvline(1, color="#333333", linewidth=0.8, linestyle=":")
    axes[0].set_xlabel("bandwidth, as a share of a copy's (a fused pass moves the fewest bytes)")
    axes[0].xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    return figure


def methods(rows: Sequence[Section]) -> Figure | None:
    """Guided backpropagation on each network: time, and what is remembered."""
    guided = [row for row in rows if row["method"] == "GuidedBackprop" and "sides" in row]
    batches = sorted({row["batch"] for row in guided})
    if not batches:
        return None
    batch = 8 if 8 in batches else batches[-1]
    shown = [row for row in guided if row["batch"] == batch]
    names = [row["network"] for row in shown]
    wrong = _wrong(shown)
    figure, (left, right) = _page(2, height=1.2 + 0.62 * len(names))
    _bars(left, names, _by_side(shown, "ms"), COLOURS, "{:.3g}", wrong)
    left.set_xlabel(f"GuidedBackprop, batch {batch}: ms per image")
    memory = {k: v for k, v in _by_side(shown, "remembered_mib").items() if k != "floor"}
    _bars(right, names, memory, COLOURS, "{:.3g}")
    right.set_xscale("log")
    right.set_xlim(right=right.get_xlim()[1] * 2)
    right.set_xlabel("saved for backward: MiB per image")
    right.get_legend().remove()
    return figure


def scale(rows: Sequence[Section]) -> Figure | None:
    """Growth of memory over batches, or the largest batch."""
    networks = list(dict.fromkeys(row["network"] for row in rows))
    if all("batch" not in row for row in rows):
        figure, axes = _page(1, height=1.2 + 0.6 * len(networks))
        _bars(axes[0], networks, _by_side(rows, "images"), COLOURS, "{:.0f}")
        axes[0].set_xlabel(f"largest batch in {rows[0]['budget_mib']} MiB, guided backpropagation")
        return figure
    figure, axes = _page(len(networks), height=3.2)
    for ax, network in zip(axes, networks, strict=True):
        _lines(ax, [row for row in rows if row["network"] == network])
        ax.set_title(TITLES[network], fontsize=10)
    axes[0].set_ylabel("growth of resident memory, MiB")
    return figure


def incremental(rows: Sequence[Section]) -> Figure | None:
    """Time per position against the size of the window, with the bound by operations."""
    shown = [row for row in rows if "curve" in row and _both_timed(row)]
    networks = list(dict.fromkeys(row["network"] for row in shown))
    if not networks:
        return None
    figure, axes = _page(len(networks), height=3.4)
    for ax, network in zip(axes, networks, strict=True):
        _against_size(ax, [row for row in shown if row["network"] == network])
        ax.set_title(TITLES[network], fontsize=10)
    axes[0].set_ylabel("ms per position of the window")
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def truth(rows: Sequence[Section]) -> Figure | None:
    """The gains on planted truth, and how far the metrics agree on scenes."""
    by_name = {row["name"]: row for row in rows}
    if not {"planted", "collage"} <= set(by_name):
        return None
    planted, scenes = by_name["planted"], by_name["collage"]
    figure = Figure(figsize=(15, 2.2 + 0.2 * len(planted["methods"])), layout="constrained")
    left, right = figure.subplots(1, 2)
    gains = _floats(planted["gains"]["value"])
    order = np.argsort(-np.nan_to_num(gains, nan=0.0).sum(1), kind="stable")
    names = [planted["methods"][k] for k in order]
    colors = ("Blues", 0.0, 1.0)
    plot_matrix(
        names, list(planted["plants"]), torch.from_numpy(gains[order]), (1, 1), colors, left
    )
    left.set_xlabel("share of the attribution on what decides, beyond chance")
    plot_agreement(scenes["metrics"], torch.from_numpy(_floats(scenes["agreement"])), right)
    right.set_xlabel("rank correlation of the metrics")
    return figure


def _floats(values: Any) -> np.ndarray:
    """Return nested lists as an array, with NaN for `None`."""
    return np.array(values, dtype=float)


DRAWN: dict[str, Callable[[Sequence[Section]], Figure | None]] = {
    "kernels": kernels,
    "methods": methods,
    "scale": scale,
    "incremental": incremental,
    "truth": truth,
}


def _both_timed(row: Section) -> bool:
    return all("ms" in row["sides"].get(name, {}) for name in ("torchattr", "dense"))


def _against_size(ax: Axes, rows: Sequence[Section]) -> None:
    sizes = [row["curve"] for row in rows]
    whole = [row["sides"]["dense"]["ms"] for row in rows]
    ours = [row["sides"]["torchattr"]["ms"] for row in rows]
    bound = [taken / row["bound"] for taken, row in zip(whole, rows, strict=True)]
    lines = {"dense": (whole, "whole forwards"), "bound": (bound, "bound by operations")}
    lines["torchattr"] = (ours, "torchattr")
    for name, (values, label) in lines.items():
        style = "--" if name == "bound" else "-"
        ax.plot(sizes, values, style, marker="o", markersize=4, color=COLOURS[name], label=label)
    ax.set_xscale("log", base=2)
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.minorticks_off()
    ax.set_ylim(bottom=0)
    ax.set_xlabel("side of the window, pixels")
    ax.grid(axis="y", color="#e6e6e6")


def _lines(ax: Axes, rows: Sequence[Section]) -> None:
    for side in dict.fromkeys(name for row in rows for name in row["sides"]):
        points = [
            (row["batch"], row["sides"][side]["growth_mib"])
            for row in rows
            if "growth_mib" in row["sides"].get(side, {})
        ]
        if points:
            style = "--" if side == "inference" else "-"
            xs, ys = zip(*points, strict=True)
            ax.plot(xs, ys, style, marker="o", markersize=4, color=COLOURS[side], label=side)
    ax.legend(frameon=False, fontsize=8, loc="upper left")
    ax.set_xlabel("batch")
    ax.set_ylim(bottom=0)
    ax.set_xlim(left=0)
    ax.grid(axis="y", color="#e6e6e6")


def _by_side(rows: Sequence[Section], figure: str) -> dict[str, dict[str, float]]:
    """Return one figure of every side that has it, by network."""
    sides = dict.fromkeys(name for row in rows for name in row["sides"])
    found = {
        side: {
            row["network"]: row["sides"][side][figure]
            for row in rows
            if figure in row["sides"].get(side, {})
        }
        for side in sides
        if side in COLOURS
    }
    return {side: values for side, values in found.items() if values}


def _wrong(rows: Sequence[Section]) -> dict[str, list[str]]:
    """Return the networks on which each side's result is wrong."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for name, side in row["sides"].items():
            if side.get("wrong", "").startswith(("gives", "wrong", "raises")):
                found.setdefault(name, []).append(row["network"])
    return found


def _bars(
    ax: Axes,
    names: Sequence[str],
    series: Mapping[str, Mapping[str, float]],
    colours: Mapping[str, str],
    label: str,
    wrong: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Draw horizontal bars, grouped by name, one per series; wrong results are labelled."""
    thickness = 0.8 / max(1, len(series))
    for number, (side, values) in enumerate(series.items()):
        offset = (number + 0.5) * thickness - 0.4
        heights = [names.index(name) + offset for name in values]
        colour = colours.get(side)
        bars = ax.barh(heights, list(values.values()), thickness * 0.9, color=colour, label=side)
        ax.bar_label(bars, [f" {label.format(v)}" for v in values.values()], fontsize=7)
        for name in (wrong or {}).get(side, ()):
            text = f" {side} is wrong"
            ax.text(0, names.index(name) + offset, text, color=colour, fontsize=7, va="center")
    ax.set_yticks(range(len(names)), [TITLES.get(name, name) for name in names])
    ax.grid(axis="x", color="#e6e6e6")
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.margins(x=0.14)
    ax.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=5)


def _page(columns: int, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(9, max(2.6, height)), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_axisbelow(True)
    return figure, list(axes)


def _save(figure: Figure, out: Path, stem: str) -> list[Path]:
    import matplotlib

    out.mkdir(parents=True, exist_ok=True)
    written = []
    with matplotlib.rc_context(PLAIN):
        for kind, options in {"png": {"dpi": 130}, "svg": {"metadata": {"Date": None}}}.items():
            path = out / f"{stem}.{kind}"
            figure.savefig(path, **options)
            written.append(path)
    return written

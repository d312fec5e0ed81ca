"""Looking inside: back-projections of many maps, Guided Grad-CAM of many layers, the viewer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from statistics import median
from typing import Any, Literal

import captum.attr
import torch
from torch import Tensor

import torchattr as ta
from benchmarks import viewer
from benchmarks.cases.base import Case, Row
from benchmarks.cases.comparison import Comparison, Results, Sides, out_of_place
from benchmarks.cases.sharing import comparisons, each_layer, layers_right
from benchmarks.measure.head_to_head import head_to_head
from benchmarks.measure.reference import back_projection
from benchmarks.measure.timing import extrapolated, milliseconds, ratio
from benchmarks.report.text import say, timed
from benchmarks.settings import Settings
from benchmarks.tasks import Subject, Task, quiet

LAYER = "features.28"
MAPS = 512
COUNTS = (16, 48)
"""Numbers of maps that torchattr projects, to separate the forward's cost from that of a map."""
CALLS = 4
"""Number of Captum calls that are timed. They share nothing: 512 take 128 times as long."""

CLICKS = 32
"""Clicks on each layer of the bundled model."""

Start = Literal["map", "max"]


class Inspect(Case):
    name = "inspect"
    title = "Looking inside"

    def run(self, settings: Settings) -> list[dict[str, Any]]:
        subject = Subject.of("vgg16", settings.size, settings.device)
        each = Comparison("layer by layer", "vgg16", 1, layer_by_layer, layers_right)
        rows = [
            back_projections("whole maps", "map", subject, settings),
            back_projections("maxima", "max", subject, settings),
            each.row(subject, settings),
        ]
        return [*rows, click(settings)]

    def tables(self, rows: Sequence[Row]) -> list[str]:
        left_out = [
            f"Left out: {row['name']}, {row['left_out']}." for row in rows if "left_out" in row
        ]
        measured = [row for row in rows if "sides" in row]
        text = (
            "Time in ms for all results together; in brackets torchattr's time as a share of it."
            f" Whole maps and maxima: all {MAPS} maps of `{LAYER}`, extrapolated from {COUNTS[0]}"
            f" and {COUNTS[1]} maps for torchattr (a fixed cost and one per map) and from {CALLS}"
            " calls for Captum. Layer by layer: Guided Grad-CAM of the 13 convolutions. All were"
            " checked in float64 first."
        )
        return [*comparisons(measured, text), *left_out, ""]


def back_projections(
    name: str, start: Start, subject: Subject, settings: Settings
) -> dict[str, Any]:
    """Time a part of the maps of a layer, and extrapolate to all of them."""

    def sides(task: Task) -> Sides:
        channels = spread(CALLS)
        return {"torchattr": ours(task, start, channels), "captum": captums(task, start, channels)}

    def right(task: Task) -> Results:
        return back_projection(task, LAYER, spread(CALLS), start)

    comparison = Comparison(name, subject.name, 1, sides, right)
    wrong = comparison.wrong_sides(subject)
    task = subject.task(name, 1)
    runs = {
        "fewer": ours(task.on_own_model(), start, spread(COUNTS[0])),
        "few": ours(task.on_own_model(), start, spread(COUNTS[1])),
        "captum": captums(task.on_own_model(), start, spread(CALLS)),
    }
    kept = {side: run for side, run in runs.items() if _side(side) not in wrong}
    measured = head_to_head(
        {name: quiet(run) for name, run in kept.items()}, settings, all_rounds=not settings.quick
    )
    row = {
        "name": name,
        "network": subject.name,
        "batch": 1,
        "rounds": measured.rounds,
        "sides": {
            **{side: {"wrong": why} for side, why in wrong.items()},
            **_extrapolated(measured.times),
        },
    }
    say(name, *(f"{side} {timed(found)}" for side, found in row["sides"].items()))
    return row


def _side(run: str) -> str:
    return "torchattr" if run.startswith("few") else run


def _extrapolated(times: Any) -> dict[str, dict[str, Any]]:
    """Return the time of all maps, of each round, from those of the few."""
    whole: dict[str, list[float]] = {}
    if "few" in times:
        pairs = zip(times["few"], times["fewer"], strict=True)
        whole["torchattr"] = [extrapolated(few, fewer, COUNTS, MAPS) for few, fewer in pairs]
    if "captum" in times:
        whole["captum"] = [taken * MAPS / CALLS for taken in times["captum"]]
    found: dict[str, dict[str, Any]] = {
        side: {"ms": milliseconds(taken)} for side, taken in whole.items()
    }
    if len(whole) == 2:
        found["captum"]["ratio"] = ratio(whole, "torchattr", "captum")
    return found


def spread(count: int) -> list[int]:
    """Return `count` maps, evenly spread over the layer."""
    return [number * MAPS // count for number in range(count)]


def ours(task: Task, start: Start, channels: list[int]) -> Callable[[], Results]:
    return lambda: ta.back_project(task.model, task.images, LAYER, channels, start).pictures.unbind(
        1
    )


def captums(task: Task, start: Start, channels: list[int]) -> Callable[[], Results]:
    """Captum needs a model without in-place ReLUs: it cannot read a layer that is overwritten."""
    peer = out_of_place(task.on_own_model().model)
    method = captum.attr.NeuronDeconvolution(peer, peer.get_submodule(LAYER))
    leaf = task.images.clone().requires_grad_()
    chosen = [energy(channel, start) for channel in channels]
    return lambda: [method.attribute(leaf, one).detach() for one in chosen]


def energy(channel: int, start: Start) -> Callable[[Tensor], Tensor]:
    """Return the neuron whose gradient is the map itself, or the largest value of the map."""

    def whole(values: Tensor) -> Tensor:
        return values[:, channel].square().sum((1, 2)) / 2

    def largest(values: Tensor) -> Tensor:
        return values[:, channel].flatten(1).max(1).values.square() / 2

    return whole if start == "map" else largest


def layer_by_layer(task: Task) -> Sides:
    def all_layers() -> Results:
        found = ta.layer_by_layer(
            task.model,
            task.images,
            method="guided_grad_cam",
            target=task.target,
            interpolate_mode="nearest",
        )
        return list(found.values())

    return {**each_layer(task), "torchattr": all_layers}


def click(settings: Settings) -> dict[str, Any]:
    """Time clicks on maps in the local viewer, which runs in a process of its own."""
    name = "viewer click"
    if find_spec("fastapi") is None:
        return {"name": name, "left_out": "the extra `web` is not installed"}
    count = 1 if settings.quick else CLICKS
    with viewer.running("demo", torch.get_num_threads()) as visitor:
        layers = viewer.some_layers(visitor)
        taken = [one for layer in layers for one in viewer.clicks(visitor, layer, count)]
    say(name, f"{median(taken):.0f} ms, at most {max(taken):.0f} ms")
    figures = {"ms": median(taken), "longest_ms": max(taken)}
    return {"name": name, "rounds": len(taken), "sides": {"torchattr": figures}}

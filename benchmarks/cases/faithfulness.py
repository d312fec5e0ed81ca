"""Deletion by blocks that recomputes only what each step changes, against whole forwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.cases.base import Case, Row
from benchmarks.cases.comparison import Comparison, Results, Sides
from benchmarks.report.text import table, timed
from benchmarks.settings import Settings
from benchmarks.tasks import Subject, Task
from torchattr import evaluate

NETWORKS = ("vgg16", "resnet50")
BLOCK = 16
"""The side of a block in pixels."""
CHECKED = 96
"""The side of the images of the check, which takes a forward in float64 for each block."""


@dataclass(frozen=True)
class Metric:
    """A metric that deletes blocks.

    Attributes:
        name: for the tables and targets.
        measured: returns the metric of a task with further options.
        oracle: returns the same from whole forwards, by hand.
    """

    name: str
    measured: Callable[..., Tensor]
    oracle: Callable[[Task], Tensor]


def _curve(task: Task, **options: Any) -> Tensor:
    mask = evaluate.blocks(task.images, BLOCK)
    given = {"activation": "none", "steps": 10**6, "feature_mask": mask, **options}
    curve = evaluate.deletion_curve(task.model, task.images, _map(task), task.target, **given)
    return curve.scores


def _single(task: Task, **options: Any) -> Tensor:
    mask = evaluate.blocks(task.images, BLOCK)
    given = {"feature_mask": mask, **options}
    return evaluate.single_deletion(task.model, task.images, _map(task), task.target, **given)


def _map(task: Task) -> Tensor:
    """Return a map of random numbers, identical in every run."""
    shape = (len(task.images), 1, *task.images.shape[2:])
    generator = torch.Generator().manual_seed(3)
    return torch.randn(shape, generator=generator).to(task.images)


@torch.no_grad()
def _curve_by_hand(task: Task) -> Tensor:
    """Return the scores of each step, one image and one forward at a time."""
    mask = evaluate.blocks(task.images, BLOCK)[0, 0]
    numbers = mask.unique().tolist()
    found = []
    for picture, worth in zip(task.images.clone(), _map(task)[:, 0], strict=True):
        order = sorted(numbers, key=lambda number: -float(worth[mask == number].mean()))
        scores = [task.model(picture[None])[0, task.target]]
        for number in order:
            picture[:, mask == number] = 0
            scores.append(task.model(picture[None])[0, task.target])
        found.append(torch.stack(scores))
    return torch.stack(found)


@torch.no_grad()
def _single_by_hand(task: Task) -> Tensor:
    """Return the rank correlation of the worth of blocks with the drops of the score."""
    mask = evaluate.blocks(task.images, BLOCK)[0, 0]
    found = []
    for picture, worth in zip(task.images, _map(task)[:, 0], strict=True):
        clean, pairs = task.model(picture[None])[0, task.target], []
        for number in mask.unique().tolist():
            without = picture.masked_fill(mask == number, 0)
            drop = clean - task.model(without[None])[0, task.target]
            pairs.append((worth[mask == number].sum(), drop))
        ranks = torch.tensor(pairs, dtype=torch.float64).argsort(0).argsort(0).double()
        found.append(torch.corrcoef(ranks.T)[0, 1])
    return torch.stack(found)


METRICS = (
    Metric("deletion curve", _curve, _curve_by_hand),
    Metric("single deletion", _single, _single_by_hand),
)
SIDES: Mapping[str, Any] = {"torchattr": "auto", "whole": False}


class Faithfulness(Case):
    """Metrics that delete blocks of 16 pixels one after another, or one at a time."""

    name = "faithfulness"
    title = "Deletion by blocks"

    def run(self, settings: Settings) -> list[dict[str, Any]]:
        return [
            _compared(metric, network).row(
                Subject.of(network, settings.size, settings.device), settings
            )
            for network in settings.among(NETWORKS)
            for metric in METRICS
        ]

    def tables(self, rows: Sequence[Row]) -> list[str]:
        head = ["metric", "network", "torchattr, ms", "whole forwards, ms"]
        text = (
            f"Time in ms for one image in blocks of {BLOCK} pixels, the clean forward included; in"
            " brackets torchattr's time as a share of that of `incremental=False`, whole forwards"
            " in batches. A step of a deletion curve is compared with the step before it. Both were"
            " compared with one forward after another first, in float64, on images of"
            f" {CHECKED} pixels."
        )
        return [text, "", *table(head, map(_cells, rows))]


def _compared(metric: Metric, network: str) -> Comparison:
    def sides(task: Task) -> Sides:
        return {
            name: partial(_results, metric.measured, task, incremental)
            for name, incremental in SIDES.items()
        }

    def right(task: Task) -> Results:
        return [metric.oracle(task)]

    return Comparison(metric.name, network, 1, sides, right, checked_size=CHECKED)


def _results(measured: Callable[..., Tensor], task: Task, incremental: Any) -> Results:
    return [measured(task, incremental=incremental)]


def _cells(row: Row) -> list[str]:
    ours, whole = (row["sides"][name] for name in SIDES)
    return [row["name"], row["network"], timed(ours), timed(whole)]

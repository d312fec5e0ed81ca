"""Shapley values of superpixels: torchattr against Captum, with the same random draws."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import captum.attr
import torch

import torchattr.captum
from benchmarks.cases.base import Case, Row
from benchmarks.cases.comparison import Comparison, Results, Sides
from benchmarks.report.text import table, timed
from benchmarks.settings import Settings
from benchmarks.tasks import Subject, Task
from torchattr.core.squares import squares

NETWORKS = ("resnet50", "vgg16")
CELLS = 10
"""Superpixels in a row and in a column."""
SAMPLES = {"ShapleyValueSampling": 4, "KernelShap": 100}
"""Orders, and coalitions."""
SINGLE = 1e-5
"""Captum adds up gains in float32, whatever the dtype."""
CHECKED_SIZE = 96
"""Side of the images of the check, which takes a forward in float64 for each coalition."""
DETAILS = {"ShapleyValueSampling": "4 orders", "KernelShap": "100 coalitions"}


class Coalitions(Case):
    """Shapley sampling and KernelSHAP with 100 superpixels."""

    name = "coalitions"
    title = "Shapley values of 100 superpixels"

    def run(self, settings: Settings) -> list[dict[str, Any]]:
        return [
            comparison.row(Subject.of(network, settings.size, settings.device), settings)
            for network in settings.among(NETWORKS)
            for comparison in _compared(network)
        ]

    def tables(self, rows: Sequence[Row]) -> list[str]:
        head = ["what", "network", "torchattr, ms", "Captum, ms"]
        text = (
            "Time in ms for one image; in brackets torchattr's time as a share of Captum's. Both"
            " draw the same orders and coalitions. Shapley sampling was compared with forwards of"
            f" each coalition in float64 first, on images of {CHECKED_SIZE} pixels."
        )
        return [text, "", *table(head, map(_cells, rows))]


def _compared(network: str) -> list[Comparison]:
    return [
        Comparison(
            *(name, network, 1, partial(_sides, name), partial(_right, name), SINGLE),
            checked_size=CHECKED_SIZE,
        )
        for name in SAMPLES
    ]


def _sides(name: str, task: Task) -> Sides:
    def run(library: Any, **options: Any) -> Results:
        torch.manual_seed(0)
        method = getattr(library, name)(task.model)
        given = {"target": task.target, "feature_mask": squares(task.images, CELLS), **options}
        return [method.attribute(task.images, n_samples=SAMPLES[name], **given)]

    return {
        "torchattr": lambda: run(torchattr.captum, perturbations_per_eval=None),
        "captum": lambda: run(captum.attr),
    }


@torch.no_grad()
def _right(name: str, task: Task) -> Results:
    """Return the mean gains over the orders, from a forward of each coalition."""
    if name != "ShapleyValueSampling":
        return []
    torch.manual_seed(0)
    mask, total = squares(task.images, CELLS), torch.zeros_like(task.images)
    for _ in range(SAMPLES[name]):
        picture = torch.zeros_like(task.images)
        before = task.model(picture)[0, task.target]
        for feature in torch.randperm(CELLS**2):
            picture = torch.where(mask == feature, task.images, picture)
            after = task.model(picture)[0, task.target]
            total += (mask == feature) * (after - before)
            before = after
    return [total / SAMPLES[name]]


def _cells(row: Row) -> list[str]:
    ours, theirs = (row["sides"][name] for name in ("torchattr", "captum"))
    what = f"{row['name']}, {DETAILS[row['name']]}"
    return [what, row["network"], timed(ours), timed(theirs)]

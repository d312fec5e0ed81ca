"""Path methods with 50 points for one image: torchattr against Captum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import captum.attr
import numpy as np
import torch
from torch import Tensor

import torchattr.captum
from benchmarks.cases.base import Case, Row
from benchmarks.cases.comparison import Comparison, Results, Sides, out_of_place
from benchmarks.report.text import number, table, timed
from benchmarks.settings import Settings
from benchmarks.tasks import Subject, Task

NETWORKS = ("resnet18", "resnet50")
LAYER = "layer3"
"""With a part of the network before it, which the path does not change, and one behind it."""
POINTS = 50
CHECKED_POINTS = 5
CHECKED_SIZE = 96
"""Side of the images of the check in float64."""
ROWS = 4
"""Baselines that gradient SHAP draws from."""
NEAR = 1e-9
"""Distance of the baseline of the check: no rectifier switches on the way to the input."""
SINGLE = 1e-7
"""Captum weights the points of an integral in float32, whatever the dtype."""
ROUNDS = 3
"""Captum's call takes long, beside which the noise of a round is small."""


class Paths(Case):
    """Integrated gradients of a layer, and gradient SHAP."""

    name = "paths"
    title = "Paths of 50 points"

    def run(self, settings: Settings) -> list[dict[str, Any]]:
        few = replace(settings, rounds=min(settings.rounds, ROUNDS))
        return [
            comparison.row(Subject.of(network, settings.size, settings.device), few)
            for network in settings.among(NETWORKS)
            for comparison in _compared(network)
        ]

    def tables(self, rows: Sequence[Row]) -> list[str]:
        head = ["what", "network", "torchattr, ms", "Captum, ms", "rounds", "peak MiB, both"]
        text = (
            "Time in ms for one image; in brackets torchattr's time as a share of Captum's. Both"
            " run as many points at once as they do by default. Both were compared with the formula"
            f" in float64 first, with {CHECKED_POINTS} points; for gradient SHAP, whose points are"
            " random, with a baseline so near that all of them have the same gradient."
        )
        return [text, "", *table(head, map(_cells, rows))]


def _compared(network: str) -> list[Comparison]:
    return [
        Comparison(
            *("LayerIntegratedGradients", network, 1),
            *(partial(_layer_sides, POINTS), _layer_right, SINGLE),
            checked=partial(_layer_sides, CHECKED_POINTS),
            checked_size=CHECKED_SIZE,
        ),
        Comparison(
            *("GradientShap", network, 1),
            *(_shap_sides, _shap_right),
            checked=_near_sides,
            checked_size=CHECKED_SIZE,
        ),
    ]


def _layer_sides(points: int, task: Task) -> Sides:
    def run(library: Any) -> Results:
        method = library.LayerIntegratedGradients(task.model, task.model.get_submodule(LAYER))
        return [method.attribute(task.images, target=task.target, n_steps=points)]

    out_of_place(task.model)
    return _both(run)


def _shap_sides(task: Task) -> Sides:
    given = torch.Generator().manual_seed(2)
    rows = torch.randn(ROWS, *task.images.shape[1:], generator=given).to(task.images)
    return _both(partial(_shap, task, rows, POINTS))


def _near_sides(task: Task) -> Sides:
    return _both(partial(_shap, task, _near(task), CHECKED_POINTS))


def _shap(task: Task, rows: Tensor, points: int, library: Any) -> Results:
    method = library.GradientShap(task.model)
    return [method.attribute(task.images, rows, n_samples=points, target=task.target)]


def _both(run: Any) -> Sides:
    return {
        "torchattr": partial(run, torchattr.captum),
        "captum": partial(run, captum.attr),
    }


def _near(task: Task) -> Tensor:
    return task.images * (1 - NEAR)


def _layer_right(task: Task) -> Results:
    """Integrate by a hook that replaces the layer's output, one point after the other."""
    end, start = (_values(task, shown) for shown in (task.images, torch.zeros_like(task.images)))
    nodes, weights = np.polynomial.legendre.leggauss(CHECKED_POINTS)
    total = sum(
        weight / 2 * _gradient(task, start + (1 + node) / 2 * (end - start))
        for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True)
    )
    return [(end - start) * total]


def _shap_right(task: Task) -> Results:
    leaf = task.images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(task.model(leaf)[:, task.target].sum(), leaf)
    return [(task.images - _near(task)) * gradient]


def _values(task: Task, shown: Tensor) -> Tensor:
    kept: list[Tensor] = []
    layer = task.model.get_submodule(LAYER)
    handle = layer.register_forward_hook(lambda module, args, output: kept.append(output.detach()))
    with torch.no_grad():
        task.model(shown)
    handle.remove()
    return kept[0]


def _gradient(task: Task, values: Tensor) -> Tensor:
    """Return the gradient of the score with respect to values of the layer."""
    leaf = values.clone().requires_grad_()
    layer = task.model.get_submodule(LAYER)
    # A copy, since what follows may work in place.
    handle = layer.register_forward_hook(lambda module, args, output: leaf.clone())
    score = task.model(task.images)[:, task.target].sum()
    handle.remove()
    return torch.autograd.grad(score, leaf)[0]


def _cells(row: Row) -> list[str]:
    ours, theirs = (row["sides"][name] for name in ("torchattr", "captum"))
    peaks = f"{number(ours.get('peak_mib'))}, {number(theirs.get('peak_mib'))}"
    return [row["name"], row["network"], timed(ours), timed(theirs), str(row["rounds"]), peaks]

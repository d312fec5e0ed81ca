"""Several results of one image: one call of torchattr against one Captum call for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import captum.attr
from torch import Tensor, nn

import torchattr as ta
from benchmarks.cases.base import Case, Row
from benchmarks.cases.comparison import Comparison, Results, Sides, out_of_place
from benchmarks.measure.reference import grad_cam, gradient, guided_grad_cam, reference
from benchmarks.report.text import number, table, timed
from benchmarks.settings import Settings
from benchmarks.tasks import Subject, Task

FIVE = ("Saliency", "Deconvolution", "GuidedBackprop", "GradCAM", "GuidedGradCAM")
EXPLAINED = ("saliency", "deconvolution", "guided_backprop", "grad_cam", "guided_grad_cam")
CHECKED = 3
"""Number of classes or layers that are compared with the reference."""


class Sharing(Case):
    name = "sharing"
    title = "Sharing"

    def run(self, settings: Settings) -> list[dict[str, Any]]:
        batch = settings.batch
        compared = [
            Comparison("five methods", "resnet50", batch, five_methods, five_right),
            Comparison("grad-cam for 100 classes", "resnet50", 1, many_cams, cams_right),
            Comparison(
                "saliency for 10 classes", "resnet50", batch, ten_saliencies, saliencies_right
            ),
            Comparison(
                "guided grad-cam for each convolution", "vgg16", 1, each_layer, layers_right
            ),
        ]
        rows = []
        for network, group in groupby(compared, lambda one: one.network):
            subject = Subject.of(network, settings.size, settings.device)
            rows += [one.row(subject, settings) for one in group]
        return rows

    def tables(self, rows: Sequence[Row]) -> list[str]:
        return comparisons(
            rows,
            "Time in ms per call, or for all calls together; in brackets torchattr's time as a"
            " share of it. Captum is called once for each result. Both were checked in float64"
            " first.",
        )


def comparisons(rows: Sequence[Row], text: str) -> list[str]:
    """Show rows of torchattr against Captum."""
    head = ["what", "network", "batch", "torchattr, ms", "Captum, ms", "rounds", "peak MiB, both"]
    return [text, "", *table(head, map(_cells, rows))]


def _cells(row: Row) -> list[str]:
    ours, peer = row["sides"]["torchattr"], row["sides"].get("captum", {})
    return [
        row["name"],
        row.get("network", "–"),
        str(row.get("batch", "–")),
        timed(ours),
        timed(peer or None),
        str(row["rounds"]),
        f"{number(ours.get('peak_mib'))}, {number(peer.get('peak_mib'))}",
    ]


def five_methods(task: Task) -> Sides:
    def ours() -> Results:
        found = ta.explain(task.model, task.images, EXPLAINED, task.target, layer=task.layer)
        return [found[name][:, 0] for name in EXPLAINED]

    peer = task.on_own_model()
    layer = peer.model.get_submodule(peer.layer)
    makers = captum.attr
    methods: list[Any] = [
        *(getattr(makers, name)(peer.model) for name in FIVE[:3]),
        makers.LayerGradCam(peer.model, layer),
        makers.GuidedGradCam(peer.model, layer),
    ]
    leaf = task.images.clone().requires_grad_()
    return {
        "torchattr": ours,
        "captum": lambda: [one.attribute(leaf, target=task.target).detach() for one in methods],
    }


def five_right(task: Task) -> Results:
    return [reference(replace(task, method=name)) for name in FIVE]


def many_cams(task: Task) -> Sides:
    classes, peer = _classes(task, 100), task.on_own_model()
    ours = ta.GradCAM(task.model, layer=task.layer)
    theirs = captum.attr.LayerGradCam(peer.model, peer.model.get_submodule(peer.layer))
    return {
        "torchattr": lambda: ours.attribute(task.images, target=ta.Classes(*classes)).unbind(1),
        "captum": lambda: [theirs.attribute(peer.images, target=one).detach() for one in classes],
    }


def cams_right(task: Task) -> Results:
    return [grad_cam(replace(task, target=one)) for one in _classes(task, CHECKED)]


def ten_saliencies(task: Task) -> Sides:
    classes, peer = _classes(task, 10), task.on_own_model()
    ours, theirs = ta.Saliency(task.model), captum.attr.Saliency(peer.model)
    leaf = task.images.clone().requires_grad_()
    return {
        "torchattr": lambda: ours.attribute(task.images, target=ta.Classes(*classes)).unbind(1),
        "captum": lambda: [theirs.attribute(leaf, target=one).detach() for one in classes],
    }


def saliencies_right(task: Task) -> Results:
    return [gradient(replace(task, target=one)).abs() for one in _classes(task, CHECKED)]


def each_layer(task: Task) -> Sides:
    """Captum needs a model without in-place ReLUs: it cannot read a layer that is overwritten."""
    names = convolutions(task.model)
    ours = ta.GuidedGradCAM(task.model, layer=names)
    peer = out_of_place(task.on_own_model().model)
    methods = [captum.attr.GuidedGradCam(peer, peer.get_submodule(name)) for name in names]
    leaf = task.images.clone().requires_grad_()
    return {
        "torchattr": lambda: list(ours.attribute(task.images, target=task.target).values()),
        "captum": lambda: [one.attribute(leaf, target=task.target).detach() for one in methods],
    }


def layers_right(task: Task) -> list[Tensor]:
    names = convolutions(task.model)[:CHECKED]
    return [guided_grad_cam(replace(task, layer=name)) for name in names]


def convolutions(model: nn.Module) -> list[str]:
    return [name for name, part in model.named_modules() if isinstance(part, nn.Conv2d)]


def _classes(task: Task, count: int) -> list[int]:
    """Return the target and the classes after it."""
    return [(task.target + step) % 1000 for step in range(count)]

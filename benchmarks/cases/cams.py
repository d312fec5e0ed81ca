"""The class activation maps: one call of torchattr against one of pytorch-grad-cam for each."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

import torchattr as ta
from benchmarks.cases.base import Case, Row
from benchmarks.cases.comparison import Comparison, Results, Sides
from benchmarks.report.text import number, table, timed
from benchmarks.settings import Settings
from benchmarks.tasks import Subject, Task

PEERS: Mapping[str, str] = {
    "grad_cam": "GradCAM",
    "grad_cam_plus_plus": "GradCAMPlusPlus",
    "xgrad_cam": "XGradCAM",
    "hires_cam": "HiResCAM",
    "grad_cam_elementwise": "GradCAMElementWise",
    "layer_cam": "LayerCAM",
    "eigen_grad_cam": "EigenGradCAM",
    "eigen_cam": "EigenCAM",
    "kpca_cam": "KPCA_CAM",
    "fem": "FEM",
}
"""Ten maps, by their names in both libraries."""
ABLATED = {"resnet50": "layer4", "vgg16": "features.29"}
"""The last layer with positions, as is usual. Where values are negative, the libraries differ:
pytorch-grad-cam sets a channel far below all others, the paper to 0."""
FLOAT32 = 1e-4
"""pytorch-grad-cam's maps are always float32, and enlarged by OpenCV."""
ABLATION_SIZE = 64
"""Side of the images of Ablation-CAM, which runs a forward for each channel."""


class Cams(Case):
    name = "cams"
    title = "Class activation maps"

    def run(self, settings: Settings) -> list[dict[str, Any]]:
        subject = Subject.of("resnet50", settings.size, settings.device)
        ten = Comparison("ten maps", "resnet50", settings.batch, ten_maps, ten_right, FLOAT32)
        rows = [ten.row(subject, settings)]
        for network in ABLATED:
            small = Subject.of(network, ABLATION_SIZE, settings.device)
            ablation = Comparison("ablation-cam", network, 1, ablations, ablations_right, FLOAT32)
            rows.append(ablation.row(small, settings))
        return rows

    def tables(self, rows: Sequence[Row]) -> list[str]:
        head = ["what", "network", "batch", "torchattr, ms", "grad-cam, ms", "rounds", "peak MiB"]
        text = (
            "Time in ms for all maps together; in brackets torchattr's time as a share of it."
            " pytorch-grad-cam is called once for each. Both were checked in float64 first."
        )
        return [text, "", *table(head, map(_cells, rows))]


def _cells(row: Row) -> list[str]:
    ours, peer = row["sides"]["torchattr"], row["sides"].get("grad-cam", {})
    return [
        row["name"],
        row.get("network", "–"),
        str(row.get("batch", "–")),
        timed(ours),
        timed(peer or None),
        str(row["rounds"]),
        f"{number(ours.get('peak_mib'))}, {number(peer.get('peak_mib'))}",
    ]


def ten_maps(task: Task) -> Sides:
    """The maps of both in the form of pytorch-grad-cam: between 0 and 1, of the image's size."""
    names = list(PEERS)
    options = {name: {"fuse": "mean"} for name in names}
    peer = task.on_own_model()
    methods = [_of_peer(name, peer, peer.layer) for name in PEERS.values()]

    def ours() -> Results:
        found = ta.explain(task.model, task.images, options, task.target, layer=task.layer)
        return [found[name][:, 0] for name in names]

    def theirs() -> Results:
        return [_called(method, task.images, task.target) for method in methods]

    return {"torchattr": ours, "grad-cam": theirs}


def ten_right(task: Task) -> Results:
    """Return the right Grad-CAM; tests compare the others with their formulas."""
    values, gradients = _pair(task)
    maps = (gradients.mean((2, 3), keepdim=True) * values).sum(1, keepdim=True)
    return [_shown(maps, task)]


def ablations(task: Task) -> Sides:
    peer = task.on_own_model()
    layer = ABLATED[_network(task)]
    ours = ta.AblationCAM(task.model, layer)
    theirs = _of_peer("AblationCAM", peer, layer)
    return {
        "torchattr": lambda: [_shown(ours.attribute(task.images, task.target), task)],
        "grad-cam": lambda: [_called(theirs, task.images, task.target)],
    }


def ablations_right(task: Task) -> Results:
    """By a hook that sets one channel after another to 0."""
    module = task.model.get_submodule(ABLATED[_network(task)])
    values = ta.LayerActivation(task.model, module).attribute(task.images)
    ablated: list[int] = []

    def without(module: Any, args: Any, output: Tensor) -> Tensor:
        changed = output.clone()
        changed[:, ablated] = 0
        return changed

    handle = module.register_forward_hook(without)
    with torch.no_grad():
        scores = []
        for channel in range(-1, values.shape[1]):
            ablated[:] = [channel] if channel >= 0 else []
            scores.append(task.model(task.images)[:, task.target])
    handle.remove()
    clean, each = scores[0], torch.stack(scores[1:], 1)
    weights = (clean[:, None] - each) / clean[:, None]
    return [_shown((weights[:, :, None, None] * values).sum(1, keepdim=True), task)]


def _network(task: Task) -> str:
    return "vgg16" if hasattr(task.model, "features") else "resnet50"


def _pair(task: Task) -> tuple[Tensor, Tensor]:
    kept: list[Tensor] = []
    module = task.model.get_submodule(task.layer)
    handle = module.register_forward_hook(lambda m, a, output: kept.append(output))
    scores = task.model(task.images)
    handle.remove()
    (gradient,) = torch.autograd.grad(scores[:, task.target].sum(), kept[0])
    return kept[0].detach(), gradient


def _shown(maps: Tensor, task: Task) -> Tensor:
    size = task.images.shape[2:]
    small = _from_0_to_1(maps.detach().relu())
    return _from_0_to_1(torch.nn.functional.interpolate(small, size, mode="bilinear"))


def _from_0_to_1(maps: Tensor) -> Tensor:
    maps = maps - maps.amin((2, 3), keepdim=True)
    return maps / maps.amax((2, 3), keepdim=True).clamp(min=1e-30)


def _of_peer(name: str, task: Task, layer: str) -> Any:
    import pytorch_grad_cam

    return getattr(pytorch_grad_cam, name)(task.model, [task.model.get_submodule(layer)])


def _called(method: Any, images: Tensor, target: int) -> Tensor:
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    # It shows a bar for each image.
    with contextlib.redirect_stderr(io.StringIO()):
        found: np.ndarray = method(images, [ClassifierOutputTarget(target)] * len(images))
    return torch.from_numpy(found)[:, None]

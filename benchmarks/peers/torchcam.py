"""TorchCAM."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from benchmarks.peers.base import Library
from benchmarks.tasks import Run, Task


class TorchCam(Library):
    """Rectified maps in the layer's own resolution, without rescaling."""

    name = "torchcam"

    @property
    def makers(self) -> Mapping[str, Callable[[Task], Run]]:
        return {"GradCAM": _grad_cam}

    def in_own_form(self, task: Task, right: Tensor) -> Tensor:
        return right.relu()[:, 0]


def _grad_cam(task: Task) -> Run:
    from torchcam.methods import GradCAM

    method = GradCAM(task.model, target_layer=task.layer)

    def run() -> Tensor:
        scores = task.model(task.images)
        return method(class_idx=task.target, scores=scores, normalized=False)[0]

    return run

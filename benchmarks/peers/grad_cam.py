"""grad-cam (the package `pytorch_grad_cam`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.peers.base import EXACT, Library
from benchmarks.tasks import Run, Task


class GradCam(Library):
    """Returns NumPy arrays: guided backpropagation of one image, channels last; maps in 0..1."""

    name = "grad-cam"
    one_image_methods = frozenset({"GuidedBackprop"})

    @property
    def makers(self) -> Mapping[str, Callable[[Task], Run]]:
        return {"GuidedBackprop": _guided_backprop, "GradCAM": _grad_cam}

    def in_own_form(self, task: Task, right: Tensor) -> Tensor:
        if task.method == "GuidedBackprop":
            return right[0].permute(1, 2, 0).cpu()
        size = task.images.shape[2:]
        small = _from_0_to_1(right.relu().float())
        return _from_0_to_1(F.interpolate(small, size, mode="bilinear"))[:, 0].cpu()

    def allowed(self, method: str) -> float:
        # Its maps are always float32, and enlarged by OpenCV.
        return EXACT if method == "GuidedBackprop" else 1e-4


def _guided_backprop(task: Task) -> Run:
    from pytorch_grad_cam import GuidedBackpropReLUModel

    method = GuidedBackpropReLUModel(model=task.model, device=task.images.device)

    def run() -> Tensor:
        # It accumulates into the gradient of its input, so each call needs a new tensor.
        return torch.from_numpy(method(task.images.clone(), target_category=task.target))

    return run


def _grad_cam(task: Task) -> Run:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    method: Any = GradCAM(model=task.model, target_layers=[task.model.get_submodule(task.layer)])
    targets = [ClassifierOutputTarget(task.target)] * len(task.images)
    return lambda: torch.from_numpy(method(input_tensor=task.images, targets=targets))


def _from_0_to_1(maps: Tensor) -> Tensor:
    maps = maps - maps.amin((2, 3), keepdim=True)
    return maps / (1e-7 + maps.amax((2, 3), keepdim=True))

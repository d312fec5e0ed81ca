"""torchattr itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torchattr as ta
from benchmarks.peers.base import Library
from benchmarks.tasks import GRADIENT_METHODS, Run, Task


class Torchattr(Library):
    """The methods, under their own names, which the benchmarks use."""

    name = "torchattr"

    @property
    def makers(self) -> Mapping[str, Callable[[Task], Run]]:
        return {
            **dict.fromkeys(GRADIENT_METHODS, _gradient),
            **dict.fromkeys(("GradCAM", "GuidedGradCAM"), _of_layer),
            "FeatureAblation": _feature_ablation,
        }

    def lean(self, task: Task) -> Run:
        """Return a run in the least memory, which is what is promised of memory."""
        run = _of_layer if task.method in ("GradCAM", "GuidedGradCAM") else _gradient
        return run(task, memory="lean")


def _gradient(task: Task, **options: Any) -> Run:
    method = getattr(ta, task.method)(task.model, **options)
    return lambda: method.attribute(task.images, target=task.target)


def _of_layer(task: Task, **options: Any) -> Run:
    method = getattr(ta, task.method)(task.model, layer=task.layer, **options)
    return lambda: method.attribute(task.images, target=task.target)


def _feature_ablation(task: Task) -> Run:
    method, mask = ta.FeatureAblation(task.model), task.grid
    return lambda: method.attribute(task.images, target=task.target, feature_mask=mask)

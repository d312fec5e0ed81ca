"""Captum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import captum.attr
from torch import nn

from benchmarks.peers.base import Library
from benchmarks.tasks import FEATURES_A_SIDE, GRADIENT_METHODS, Run, Task

ROWS_AT_ONCE = 16
"""Number of images per forward of an ablation, which Captum leaves to its user."""


class Captum(Library):
    """Inputs already require gradients, so that Captum need not set that in each call."""

    name = "captum"

    @property
    def makers(self) -> Mapping[str, Callable[[Task], Run]]:
        return {
            **dict.fromkeys(GRADIENT_METHODS, _gradient),
            "GradCAM": _grad_cam,
            "GuidedGradCAM": _guided_grad_cam,
            "FeatureAblation": _feature_ablation,
        }


def _gradient(task: Task) -> Run:
    return _attribute(getattr(captum.attr, task.method)(task.model), task)


def _grad_cam(task: Task) -> Run:
    return _attribute(captum.attr.LayerGradCam(task.model, _layer(task)), task)


def _guided_grad_cam(task: Task) -> Run:
    return _attribute(captum.attr.GuidedGradCam(task.model, _layer(task)), task)


def _feature_ablation(task: Task) -> Run:
    method, mask = captum.attr.FeatureAblation(task.model), task.grid
    at_once = max(1, min(FEATURES_A_SIDE**2, ROWS_AT_ONCE // len(task.images)))
    return lambda: method.attribute(
        task.images, target=task.target, feature_mask=mask, perturbations_per_eval=at_once
    )


def _attribute(method: Any, task: Task) -> Run:
    leaf = task.images.clone().requires_grad_()
    return lambda: method.attribute(leaf, target=task.target).detach()


def _layer(task: Task) -> nn.Module:
    return task.model.get_submodule(task.layer)

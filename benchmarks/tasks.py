"""Tasks for every library: a method, a model, images, a target."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

Run = Callable[[], Tensor]

GRADIENT_METHODS = ("Saliency", "GuidedBackprop", "Deconvolution")
METHODS = (*GRADIENT_METHODS, "GradCAM", "GuidedGradCAM", "FeatureAblation")
FEATURES_A_SIDE = 3
"""Rows and columns of the grid whose cells feature ablation removes."""

TITLES = {
    "alexnet": "AlexNet",
    "densenet121": "DenseNet-121",
    "googlenet": "GoogLeNet",
    "mobilenet_v2": "MobileNetV2",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "vgg16": "VGG-16",
    "vit_b_16": "ViT-B/16",
}

LAYERS = {
    "alexnet": "features.12",
    "densenet121": "features.norm5",
    "googlenet": "inception5b",
    "mobilenet_v2": "features.18",
    "resnet18": "layer4.1",
    "resnet50": "layer4.2",
    "vgg16": "features.30",
    "vit_b_16": "encoder.layers.encoder_layer_11.ln_1",
}
"""The layer of Grad-CAM: the last spatial one, as grad-cam's own documentation chooses it."""


@dataclass(frozen=True)
class Task:
    """One task, for any library."""

    method: str
    model: nn.Module
    images: Tensor
    layer: str
    target: int

    @property
    def grid(self) -> Tensor:
        """The feature mask of ablation: the number of each pixel's cell."""
        rows, columns = (
            torch.arange(side, device=self.images.device) * FEATURES_A_SIDE // side
            for side in self.images.shape[-2:]
        )
        return (rows[:, None] * FEATURES_A_SIDE + columns)[None, None]

    def on_own_model(self) -> Task:
        return replace(self, model=copy.deepcopy(self.model))

    def on(self, model: nn.Module) -> Task:
        return replace(self, model=model)

    def for_first_image(self) -> Task:
        return replace(self, images=self.images[:1])


def network(name: str, size: int = 224) -> nn.Module:
    """Make a torchvision network with random weights and fitting batch-norm statistics.

    Without the latter, the activations of a deep random network vanish or explode.
    """
    torch.manual_seed(0)
    options: dict[str, Any] = {"init_weights": True} if name == "googlenet" else {}
    if name.startswith("vit"):
        options["image_size"] = size
    model = torchvision.models.get_model(name, weights=None, **options)
    for part in model.modules():
        if isinstance(part, nn.Linear) and not part.weight.any():
            nn.init.normal_(part.weight, std=0.02)  # Otherwise nothing would reach the input.
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # Collect the statistics of the images below, and nothing else.
    with torch.no_grad():
        model.train()(torch.randn(4, 3, size, size))
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()


@torch.no_grad()
def predicted(model: nn.Module, shown: Tensor) -> int:
    """Return the predicted class of the first image."""
    return int(model(shown[:1]).argmax())


def images(batch: int, size: int, device: torch.device) -> Tensor:
    """Return noise images, identical in every run."""
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1)).to(device)


@dataclass(frozen=True)
class Subject:
    """A network on a device, which tasks are made from."""

    name: str
    model: nn.Module
    size: int
    device: torch.device
    target: int

    @classmethod
    def of(cls, name: str, size: int, device: torch.device) -> Subject:
        model = network(name, size).to(device)
        return cls(name, model, size, device, predicted(model, images(1, size, device)))

    def task(self, method: str, batch: int) -> Task:
        shown = images(batch, self.size, self.device).to(next(self.model.parameters()).dtype)
        return Task(method, self.model, shown, LAYERS[self.name], self.target)

    @cached_property
    def exact(self) -> Subject:
        """The same subject in float64."""
        return replace(self, model=copy.deepcopy(self.model).double())


def floor(task: Task) -> Run:
    """Return a run of what every gradient method must do: forward, and backward to the input.

    Freezes the task's model.
    """
    task.model.requires_grad_(False)

    def run() -> Tensor:
        leaf = task.images.clone().requires_grad_()
        return torch.autograd.grad(task.model(leaf)[:, task.target].sum(), leaf)[0]

    return run


def inference(task: Task) -> Run:
    """Return a run of the forward only."""

    def run() -> Tensor:
        with torch.inference_mode():
            return task.model(task.images)

    return run


def quiet(run: Run) -> Run:
    """Return a run with warnings silenced."""

    def silent() -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return run()

    return silent

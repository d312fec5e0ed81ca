"""Reference results: each method re-implemented with plain autograd, small and slow.

Nothing of torchattr or of a peer is used here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.tasks import Task


def reference(task: Task) -> Tensor:
    """Return the correct result of a task."""
    return _REFERENCES[task.method](task)


def gradient(task: Task, rule: str = "gradient") -> Tensor:
    """Return the signed gradient of the target, with every rectifier's backward under a rule."""
    leaf = task.images.clone().requires_grad_()
    with rectifiers(rule):
        # A clone, so that an in-place model does not overwrite a leaf.
        score = task.model(leaf.clone())[:, task.target].sum()
        return torch.autograd.grad(score, leaf)[0]


def grad_cam(task: Task) -> Tensor:
    """Return the map `(N, 1, h, w)`, signed: channels weighted by their mean gradient, summed."""
    seen: list[Tensor] = []

    def keep(module: Any, inputs: Any, output: Tensor) -> Tensor:
        seen.append(output)
        return output.clone()  # A later operation may overwrite its input.

    handle = task.model.get_submodule(task.layer).register_forward_hook(keep)
    try:
        score = task.model(task.images.clone())[:, task.target].sum()
    finally:
        handle.remove()
    (grad,) = torch.autograd.grad(score, seen[0])
    return (grad.mean((2, 3), keepdim=True) * seen[0]).sum(1, keepdim=True).detach()


def guided_grad_cam(task: Task, rule: str = "guided") -> Tensor:
    enlarged = F.interpolate(grad_cam(task).relu(), task.images.shape[2:], mode="nearest")
    return gradient(task, rule) * enlarged


@torch.no_grad()
def feature_ablation(task: Task) -> Tensor:
    """Return for each cell of the grid the drop of the score when the cell is black."""
    result = torch.zeros_like(task.images)
    score = task.model(task.images.clone())[:, task.target]
    for feature in task.grid.unique():
        cell = (task.grid == feature).expand_as(task.images)
        without = task.model(task.images.masked_fill(cell, 0))[:, task.target]
        result += (score - without)[:, None, None, None] * cell
    return result


def back_projection(task: Task, layer: str, channels: Sequence[int], start: str) -> list[Tensor]:
    """Return the deconvnet of each map of a layer, from the whole map or from its maximum."""
    seen: list[Tensor] = []

    def keep(module: Any, inputs: Any, output: Tensor) -> Tensor:
        seen.append(output)
        return output.clone()

    leaf = task.images.clone().requires_grad_()
    handle = task.model.get_submodule(layer).register_forward_hook(keep)
    try:
        with rectifiers("deconvolution"):
            task.model(leaf.clone())
    finally:
        handle.remove()
    (values,) = seen
    signals = [_signal(values.detach(), channel, start) for channel in channels]
    return [torch.autograd.grad(values, leaf, one, retain_graph=True)[0] for one in signals]


def _signal(values: Tensor, channel: int, start: str) -> Tensor:
    signal = torch.zeros_like(values)
    chosen = values[:, channel]
    if start == "max":
        chosen = chosen * (chosen == chosen.amax((1, 2), keepdim=True))
    signal[:, channel] = chosen
    return signal


class Rectifier(torch.autograd.Function):
    """A rectifier with a backward from the literature."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: str, upper: float) -> Tensor:
        ctx.rule, ctx.upper = rule, upper
        ctx.save_for_backward(x)
        return x.clamp(0, upper)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        if ctx.rule in ("gradient", "guided"):
            grad = torch.where((x > 0) & (x < ctx.upper), grad, 0)
        if ctx.rule in ("deconvolution", "guided"):
            grad = torch.where(grad > 0, grad, 0)
        return grad, None, None


@contextmanager
def rectifiers(rule: str) -> Iterator[None]:
    """Patch every rectifier that the networks call with the one above."""

    def relu(x: Tensor, inplace: bool = False) -> Tensor:
        return Rectifier.apply(x, rule, float("inf"))

    def hardtanh(x: Tensor, low: float, high: float, inplace: bool = False) -> Tensor:
        if low != 0:
            raise ValueError(f"the reference knows no hardtanh from {low}")
        return Rectifier.apply(x, rule, high)

    patches = [(F, "relu", relu), (torch, "relu", relu), (Tensor, "relu", relu)]
    patches += [(F, "hardtanh", hardtanh), (F, "relu6", lambda x, *_: hardtanh(x, 0.0, 6.0))]
    with ExitStack() as patched:
        for place, name, function in patches:
            patched.enter_context(mock.patch.object(place, name, function))
        yield


_REFERENCES: dict[str, Callable[[Task], Tensor]] = {
    "Saliency": lambda task: gradient(task).abs(),
    "GuidedBackprop": lambda task: gradient(task, "guided"),
    "Deconvolution": lambda task: gradient(task, "deconvolution"),
    "GradCAM": grad_cam,
    "GuidedGradCAM": guided_grad_cam,
    "FeatureAblation": feature_ablation,
}

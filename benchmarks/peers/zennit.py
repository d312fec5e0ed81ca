"""Zennit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import ResNet

from benchmarks.peers.base import Library
from benchmarks.tasks import Run, Task


class Zennit(Library):
    """The hooks of a composite are registered once, outside the timing."""

    name = "zennit"

    @property
    def makers(self) -> Mapping[str, Callable[[Task], Run]]:
        return {"Saliency": _saliency, "GuidedBackprop": _guided, "Deconvolution": _deconvolution}


def _saliency(task: Task) -> Run:
    signed = _attributor(task, None)
    return lambda: signed().abs()


def _guided(task: Task) -> Run:
    from zennit.composites import GuidedBackprop

    return _attributor(task, GuidedBackprop())


def _deconvolution(task: Task) -> Run:
    from zennit.composites import DeconvNet

    return _attributor(task, DeconvNet())


def _attributor(task: Task, composite: Any) -> Run:
    signed = Attributor(task, composite)
    return lambda: signed(task.target)


class Attributor:
    """A function from a class to what flows back from a 1 there.

    Args:
        task: the model, which is modified, and the images.
        composite: zennit's composite, if any.

    Attributes:
        model: the model.
    """

    def __init__(self, task: Task, composite: Any) -> None:
        from zennit.attribution import Gradient

        self.model = task.model
        self._composite = composite
        self._attributor = Gradient(task.model, composite)
        self._attributor.__enter__()
        self._leaf = task.images.clone().requires_grad_()

    def __call__(self, target: int) -> Tensor:
        found: Tensor = self._attributor(self._leaf, partial(_one_hot, target))[1]
        self._forget()
        return found.detach()

    def kept_by_hooks(self) -> list[Tensor]:
        """Return the tensors of a forward that the hooks of the composite keep."""
        # The gradient is one of the backward before.
        stored = [
            one
            for tensors in self._stored()
            for name, one in tensors.items()
            if name != "grad_output"
        ]
        nested = [one if isinstance(one, (tuple, list)) else (one,) for one in stored]
        return [one for several in nested for one in several if isinstance(one, Tensor)]

    def _forget(self) -> None:
        """Let go of the graph, whose nodes hold the hooks that hold its tensors."""
        for tensors in self._stored():
            tensors.clear()

    def _stored(self) -> list[dict[str, Any]]:
        hooks = () if self._composite is None else self._composite.hook_refs
        return [hook.stored_tensors for hook in hooks]


def _one_hot(target: int, output: Tensor) -> Tensor:
    chosen = output.new_tensor([target] * len(output)).long()
    return F.one_hot(chosen, output.shape[1]).to(output)


Bounds = tuple[float, float]


def relevance_of(task: Task, composite: str, bounds: Bounds) -> Attributor:
    """Return a function from a class to zennit's relevance, which begins at 1.

    Args:
        task: the model, which is modified, and the images.
        composite: the name of ours.
        bounds: of the images, for the rule of the first layer.
    """
    return Attributor(task, _composite(composite, task.model, bounds))


def _composite(name: str, model: nn.Module, bounds: Bounds) -> Any:
    from zennit import composites
    from zennit.torchvision import ResNetCanonizer

    canonizers = [ResNetCanonizer()] if isinstance(model, ResNet) else []
    if name == "epsilon_gamma_box":
        low, high = bounds
        return composites.EpsilonGammaBox(low=low, high=high, canonizers=canonizers)
    kinds = {
        "epsilon_plus": composites.EpsilonPlus,
        "epsilon_alpha2_beta1": composites.EpsilonAlpha2Beta1,
    }
    return kinds[name](canonizers=canonizers)


def without_eps(model: nn.Module) -> None:
    """Move the ε of batch-norms to their variance: zennit 0.5 counts it twice where it merges."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d) and part.running_var is not None:
            part.running_var += part.eps
            part.eps = 0.0

"""Zennit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor

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
    from zennit.attribution import Gradient

    attributor = Gradient(task.model, composite)
    attributor.__enter__()
    leaf = task.images.clone().requires_grad_()

    def one_hot(output: Tensor) -> Tensor:
        chosen = output.new_tensor([task.target] * len(output)).long()
        return F.one_hot(chosen, output.shape[1]).to(output)

    return lambda: attributor(leaf, one_hot)[1].detach()

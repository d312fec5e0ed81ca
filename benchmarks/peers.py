"""The same three methods from torchattr and from Captum, each on its own copy of a model."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import captum.attr
import torch
import torchvision
from torch import Tensor, nn

import torchattr as ta

Run = Callable[[], Tensor]
METHODS = ("Saliency", "GuidedBackprop", "Deconvolution")
TARGET = 281


@dataclass(frozen=True)
class Pair:
    """Two ways to the same result."""

    network: str
    method: str
    ours: Run
    peer: Run
    ours_model: nn.Module
    peer_model: nn.Module


def network(name: str) -> nn.Module:
    """Make a torchvision network with random weights and fitting batch-norm statistics.

    Without the latter, activations of a deep random network vanish or explode.
    """
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None)
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.randn(4, 3, 224, 224))
    return model.eval()


def pair(model: nn.Module, name: str, method: str, images: Tensor) -> Pair:
    """Give both ways of running a method on a batch.

    Captum's input requires a gradient already, so that it does not warn about it.
    """
    ours = getattr(ta, method)(model)
    peer_model = copy.deepcopy(model)
    peer = getattr(captum.attr, method)(peer_model)
    leaf = images.clone().requires_grad_()
    return Pair(
        name,
        method,
        lambda: ours.attribute(images, target=TARGET),
        lambda: _quiet(lambda: peer.attribute(leaf, target=TARGET)),
        model,
        peer_model,
    )


def floor(model: nn.Module, images: Tensor) -> Run:
    """Give the least that any gradient method must do: forward, and backward to the input."""
    frozen = copy.deepcopy(model).requires_grad_(False)

    def run() -> Tensor:
        leaf = images.clone().requires_grad_()
        return torch.autograd.grad(frozen(leaf)[:, TARGET].sum(), leaf)[0]

    return run


def _quiet(run: Run) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run().detach()

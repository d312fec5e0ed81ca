"""Captum's base classes, to derive from and to ask for."""

from __future__ import annotations

from typing import Any

import captum.attr
import torch
from helpers import assert_same, noise, seeded
from torch import Tensor, nn

import torchattr.captum as ours

X = noise(3, 4)
NET = seeded(nn.Linear, 4, 2).double()


class Halved(ours.GradientAttribution):
    """A method of a user."""

    def __init__(self, forward_func: Any) -> None:
        super().__init__(forward_func)

    def attribute(self, inputs: Tensor, target: Any = None) -> Tensor:
        return ours.InputXGradient(self.forward_func).attribute(inputs, target) / 2


def test_methods_of_users_are_what_they_derive_from() -> None:
    method = Halved(NET)
    assert isinstance(method, ours.Attribution)
    assert not isinstance(method, ours.PerturbationAttribution)
    assert not isinstance(ours.Saliency(NET), Halved)
    assert Halved.get_name() == "Halved"
    assert not method.has_convergence_delta()
    assert not method.multiplies_by_inputs
    assert ours.PerturbationAttribution(NET).multiplies_by_inputs
    assert method.attribute(X, 1).shape == X.shape


def test_the_delta_is_captums() -> None:
    found = Halved(NET).attribute(X, 1)
    theirs = captum.attr.Saliency(NET).compute_convergence_delta(found, X * 0, X, target=1)
    own = Halved(NET).compute_convergence_delta(found, 0, X, target=1)
    assert_same(own, theirs.detach(), 1e-12)
    assert_same(ours.Saliency(NET).compute_convergence_delta(found, 0, X, target=1), own)


def test_internal_methods_keep_their_layer() -> None:
    method = ours.LayerAttribution(NET, NET, [0])
    assert method.layer is NET
    assert method.device_ids == [0]
    maps = torch.ones(1, 1, 2, 2)
    assert ours.LayerAttribution.interpolate(maps, (4, 4)).shape == (1, 1, 4, 4)
    assert isinstance(ours.NeuronAttribution(NET, NET), ours.InternalAttribution)

"""Errors are of Captum's types, too."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import noise, refused, seeded
from torch import nn

import torchattr
import torchattr.captum as ours
from torchattr import errors

X = noise(2, 3)
NET = seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))).double()

WRONG: dict[str, tuple[Callable[[], Any], type[Exception], type[Exception]]] = {
    "class": (lambda: ours.Saliency(NET).attribute(X, 7), errors.TargetError, IndexError),
    "missing": (lambda: ours.Saliency(NET).attribute(X), errors.TargetError, AssertionError),
    "dense": (
        lambda: ours.IntegratedGradients(NET).attribute(X, target=(1, 0)),
        errors.TargetError,
        AssertionError,
    ),
    "baselines": (
        lambda: ours.IntegratedGradients(NET).attribute(X, X[:, :2], target=1),
        errors.ShapeError,
        AssertionError,
    ),
    "mode": (
        lambda: ours.LayerAttribution.interpolate(X[:, None], (2,), "made_up"),
        errors.InputError,
        ValueError,
    ),
    "type": (
        lambda: ours.NoiseTunnel(ours.Saliency(NET)).attribute(X, "made_up", target=1),
        errors.InputError,
        NotImplementedError,
    ),
    "model_id": (lambda: ours.TCAV(NET, "0", model_id=""), errors.InputError, AssertionError),
    "norm": (
        lambda: ours.PGD(NET).perturb(X, 0.1, 0.1, 1, 0, norm="L7"),
        errors.InputError,
        AssertionError,
    ),
    "metric": (
        lambda: ours.infidelity(NET, lambda x: (x, x), X, X[:, :2], target=1),
        errors.ShapeError,
        AssertionError,
    ),
    "arguments": (
        lambda: ours.MinParamPerturbation(NET, len, "by", 0, 1, 1),
        errors.InputError,
        AssertionError,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_are_of_both_types(name: str) -> None:
    call, own, theirs = WRONG[name]
    with pytest.raises(own) as caught:
        call()
    assert isinstance(caught.value, theirs)
    assert type(caught.value).__name__ == own.__name__
    again = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(again, own)
    assert str(again) == str(caught.value)


def test_errors_under_our_names_stay_ours() -> None:
    with pytest.raises(errors.TargetError) as caught:
        torchattr.Saliency(NET).attribute(X, 7)
    assert not isinstance(caught.value, AssertionError)


METHODS: dict[str, Callable[[Any], Any]] = {
    "Saliency": lambda net: ours.Saliency(net).attribute,
    "InputXGradient": lambda net: ours.InputXGradient(net).attribute,
    "IntegratedGradients": lambda net: ours.IntegratedGradients(net).attribute,
    "GuidedBackprop": lambda net: ours.GuidedBackprop(net).attribute,
    "DeepLift": lambda net: ours.DeepLift(net).attribute,
    "LRP": lambda net: ours.LRP(net).attribute,
    "LayerGradCam": lambda net: ours.LayerGradCam(net, "1").attribute,
    "NoiseTunnel": lambda net: ours.NoiseTunnel(ours.Saliency(net)).attribute,
}


@pytest.mark.parametrize("name", METHODS)
def test_several_values_without_a_target_are_refused(name: str) -> None:
    with refused(errors.TargetError, "target is missing", "(2, 2)"):
        METHODS[name](NET)(X)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "LayerGradCam"])
def test_a_single_value_needs_no_target(name: str) -> None:
    single = seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))).double()
    torch.manual_seed(0)
    found = METHODS[name](single)(X)
    torch.manual_seed(0)
    assert torch.equal(found, METHODS[name](single)(X, target=0))


def test_signatures_and_names_survive() -> None:
    assert ours.Saliency.attribute.__name__ == "attribute"
    assert "gradient" in str(ours.Saliency.attribute.__doc__)

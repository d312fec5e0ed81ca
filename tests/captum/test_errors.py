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


IMAGES = noise(2, 3, 6, 6)
DEEP = seeded(
    lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
).double()

MISTAKES: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "selector by name": (
        lambda: ours.NeuronGradient(DEEP, DEEP[0]).attribute(IMAGES, "first"),
        ("a neuron selector must be an int", "'first'"),
    ),
    "no selector": (
        lambda: ours.NeuronConductance(DEEP, DEEP[0]).attribute(IMAGES, None, target=0),
        ("a neuron selector must be an int", "None"),
    ),
    "weights as a layer": (
        lambda: ours.LayerGradCam(DEEP, DEEP[0].weight).attribute(IMAGES, target=0),
        ("a layer must be", "Parameter of shape (4, 3, 3, 3); name its module"),
    ),
    "baselines of NumPy": (
        lambda: ours.IntegratedGradients(NET).attribute(X, X.numpy(), target=0),
        ("baselines must be a number or a tensor, got ndarray; pass torch.from_numpy(...)",),
    ),
    "baselines of NumPy, drawn": (
        lambda: ours.GradientShap(NET).attribute(X, X.numpy(), target=0),
        ("got ndarray; pass torch.from_numpy(...)",),
    ),
    "mask of NumPy": (
        lambda: ours.FeatureAblation(NET).attribute(X, target=0, feature_mask=X.long().numpy()),
        ("feature_mask must be a tensor of integers, got ndarray; pass torch.from_numpy(...)",),
    ),
    "one device": (
        lambda: ours.LayerActivation(NET, NET[0], device_ids=0),
        ("device_ids must be a list of devices or None, got 0",),
    ),
    "radius of an attack": (lambda: ours.PGD(NET).perturb(X, "a", 1, 1, 0), ("radius", "str 'a'")),
    "step of an attack": (lambda: ours.FGSM(NET).perturb(X, None, 0), ("epsilon", "NoneType")),
    "bound of an attack": (lambda: ours.FGSM(NET, lower_bound="0"), ("lower_bound", "str '0'")),
    "loss of an attack": (lambda: ours.PGD(NET, loss_func="ce"), ("loss_func", "str 'ce'")),
    "flag of an attack": (
        lambda: ours.FGSM(NET).perturb(X, 0.1, 0, targeted="no"),
        ("targeted must be True or False, got 'no'",),
    ),
    "metric": (lambda: ours.AttackComparator(NET, 3), ("metric must be a function", "int")),
    "samples of a metric": (
        lambda: ours.infidelity(NET, lambda x: (x, x), X, X, target=0, n_perturb_samples=0),
        ("n_perturb_samples must be at least 1, got 0",),
    ),
    "radius of a metric": (
        lambda: ours.sensitivity_max(ours.Saliency(NET).attribute, X, perturb_radius="a", target=0),
        ("perturb_radius must be a number, got str 'a'",),
    ),
    "one set of concepts": (
        lambda: ours.TCAV(NET, "0").interpret(X, [ours.Concept(0, "a", [X])], target=0),
        ("experimental_sets must be a list of lists of concepts, such as [[striped, random]]",),
    ),
    "module as a layer of concepts": (
        lambda: ours.TCAV(NET, NET[0]),
        ("layers must be the name of a layer", "Linear"),
    ),
    "no map": (
        lambda: ours.LayerAttribution.interpolate((IMAGES,), (4, 4)),
        ("a map must be a tensor", "tuple"),
    ),
    "fractional size": (
        lambda: ours.LayerAttribution.interpolate(IMAGES, (4.5, 4)),
        ("a spatial size must be a tuple of ints, got (4.5, 4)",),
    ),
    "one statistic": (lambda: ours.Summarizer(ours.Mean()), ("stats must be a list",)),
    "class of a statistic": (lambda: ours.Summarizer([ours.Mean]), ("stats must be a list",)),
    "list of tensors": (
        lambda: ours.Summarizer([ours.Mean()]).update([X, X]),
        ("a tensor, a number or a tuple of them, got a list",),
    ),
    "one picture's method": (
        lambda: ours.visualization.visualize_image_attr_multiple(
            IMAGES[0].permute(1, 2, 0).numpy(), None, "heat_map", ["all"], use_pyplot=False
        ),
        ("methods must be a list, got 'heat_map'; pass ['heat_map']",),
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named(name: str) -> None:
    call, words = MISTAKES[name]
    with refused(errors.InputTypeError if "samples" not in name else errors.InputError, *words):
        call()


def test_missing_targets_are_named() -> None:
    search = ours.MinParamPerturbation(NET, lambda x, by: x + by, "by", 0, 1, 0.25)
    with refused(errors.TargetError, "target is missing", "correct_fn"):
        search.evaluate(X)
    method = ours.IntegratedGradients(NET)
    with refused(errors.TargetError, "target is missing"):
        method.compute_convergence_delta(X, 0.0, X)


def test_wrong_arguments_are_those_of_the_method() -> None:
    with pytest.raises(TypeError, match=r"Saliency.attribute\(\) got .* 'absolute'"):
        ours.Saliency(NET).attribute(X, target=0, absolute=True)
    with refused(errors.InputTypeError, "input is called inputs here"):
        ours.Saliency(NET).attribute(input=X, target=0)

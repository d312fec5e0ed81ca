"""Methods by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import torch
from helpers import refused
from sklearn.linear_model import Ridge
from torch import nn

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, RegistryError
from torchattr.methods import (
    build,
    class_of,
    each_method,
    find_method,
    name_of,
    names_of,
    registered_methods,
    takes,
)
from torchattr.methods.registry import METHODS


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Discard a test's registrations afterwards."""
    registered_methods()
    with mock.patch.dict(METHODS._entries):
        yield


def test_built_in_methods_are_found_by_name() -> None:
    assert find_method("grad_cam") is ta.GradCAM
    assert {"saliency", "deconvolution", "guided_grad_cam", "rise"} <= set(registered_methods())
    assert "layer_activation" not in registered_methods()


def test_unknown_names_are_answered_with_the_closest() -> None:
    with refused(RegistryError, "no method is called 'guided-backprob'", "'guided_backprop'"):
        find_method("guided-backprob")
    with refused(RegistryError, "such as ablation_cam, ", "methods.registered_methods()"):
        find_method("zzz")


def test_a_name_is_taken_once() -> None:
    @ta.register_method("own")
    class Own(ta.GradientAttribution):
        """A user's method."""

    assert find_method("own") is Own
    with refused(RegistryError, "a method called 'own' is registered already", "Own"):
        ta.register_method("own")(ta.Saliency)


def test_names_classes_and_objects() -> None:
    model = nn.Linear(2, 2)
    saliency = ta.Saliency(model)
    assert [name_of(one) for one in ("x", ta.Saliency, saliency, ta.LayerLRP)] == [
        "x",
        "saliency",
        "saliency",
        "LayerLRP",
    ]
    assert [class_of(one) for one in ("saliency", ta.Saliency, saliency)] == [ta.Saliency] * 3


def test_options_take_precedence() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    options = {"layer": "1", "strict": False}
    made = build("grad_cam", model, layer="0", options=options)
    assert repr(made) == repr(ta.GradCAM(model, "1", strict=False))


def test_methods_are_built_with_what_they_take() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    saliency = ta.Saliency(model)
    assert build(saliency, model, layer="0") is saliency
    given = {"layer": "0", "rules": {"gelu": "guided"}, "output": 1}
    assert repr(build("grad_cam", model, **given)) == "GradCAM(Sequential, layer='0', output=1)"
    assert repr(build(ta.GuidedBackprop, model, **given)) == (
        "GuidedBackprop(Sequential, rules={'gelu': 'guided'}, output=1)"
    )
    assert takes("grad_cam", "layer")
    assert not takes(ta.Saliency, "layer")


OTHER: dict[str, Any] = {
    "base": "layer_cam",
    "calls": "sum",
    "composite": "zero",
    "eps": 0.5,
    "gamma": 0.5,
    "head_fusion": "max",
    "high": 1.0,
    "interpretable_model": Ridge(alpha=0.5),
    "kernel": "linear",
    "layer": "0",
    "layers": "0",
    "layout": "channels_last",
    "low": -1.0,
    "memory": "lean",
    "output": 0,
    "perturb_func": lambda original, **_: original,
    "queries": "mean",
    "rescale": "layer",
    "rules": {"relu": "gradient"},
    "similarity_func": ta.ExponentialKernel("euclidean"),
    "start": "one",
    "weighting": "probability",
    "weights": "relevance",
    "zero_params": "bias",
}
"""A value that is not the default, of arguments that are neither switches nor numbers."""


def arguments() -> list[tuple[type[ta.Attribution], inspect.Parameter]]:
    built_in = [cls for cls in registered_methods().values() if "torchattr" in cls.__module__]
    further = (ta.LayerActivation, ta.LayerLRP)
    return [
        (cls, parameter)
        for cls in (*built_in, *further)
        for parameter in list(inspect.signature(cls).parameters.values())[1:]
    ]


def another(parameter: inspect.Parameter) -> Any:
    if isinstance(parameter.default, bool):
        return not parameter.default
    if isinstance(parameter.default, (int, float)):
        return type(parameter.default)(0.5 + parameter.default / 4) or 1
    return OTHER[parameter.name]


@pytest.mark.parametrize(
    ("cls", "parameter"), arguments(), ids=lambda it: getattr(it, "__name__", None) or it.name
)
def test_methods_that_differ_in_an_argument_have_names_of_their_own(
    cls: type[ta.Attribution], parameter: inspect.Parameter
) -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())
    required = list(inspect.signature(cls).parameters.values())[1:]
    needed = {one.name: "1" for one in required if one.default is one.empty}
    one = cls(model, **needed)
    other = cls(model, **{**needed, parameter.name: another(parameter)})
    assert repr(one) != repr(other)
    names = names_of([one, other], [one, other], [{}, {}])
    assert names[0] != names[1]
    assert f"{parameter.name}=" in names[1]
    assert all(called.startswith(name_of(cls)) for called in names)


def test_what_was_asked_for_by_name_keeps_it() -> None:
    model = nn.Linear(2, 2)
    named, made = ta.LRP(model), ta.LRP(model, "zero")
    names = names_of(["lrp", made, ta.Saliency], [named, made, ta.Saliency(model)], [{}] * 3)
    assert names == ["lrp", "lrp (composite='zero')", "saliency"]


def test_options_and_wrapped_methods_tell_methods_apart() -> None:
    model = nn.Linear(2, 2)
    one, other = ta.IntegratedGradients(model), ta.IntegratedGradients(model)
    names = names_of([one, other], [one, other], [{"n_steps": 4}, {"n_steps": 8}])
    assert names == ["integrated_gradients (n_steps=4)", "integrated_gradients (n_steps=8)"]
    tunnels = [ta.NoiseTunnel(ta.Saliency(model)), ta.NoiseTunnel(ta.LRP(model))]
    first, second = names_of(tunnels, tunnels, [{}, {}])
    assert "Saliency" in first
    assert "LRP" in second


@pytest.mark.parametrize("methods", [[ta.Saliency, ta.Saliency], ["saliency", ta.Saliency]])
def test_methods_that_nothing_tells_apart_are_refused(methods: list[Any]) -> None:
    built = [ta.Saliency(nn.Linear(2, 2)) for _ in methods]
    with refused(InputError, "methods has saliency 2 times", "name it once"):
        names_of(methods, built, [{}, {}])


@pytest.mark.parametrize("methods", [3, None, b"lrp", [3], [[1.0]], torch.zeros(2), object()])
def test_what_are_no_methods_is_named(methods: Any) -> None:
    with refused(InputTypeError, "method", "must be a name"):
        each_method(methods)
    with refused(InputTypeError, "method", "must be a name"):
        ta.explain(lambda x: x, torch.ones(1, 2), methods)


def test_rules_that_are_no_mapping_are_named() -> None:
    for rules in ("gelu", [1], 3):
        with refused(InputTypeError, "rules must name a rule for each operation"):
            ta.GuidedBackprop(lambda x: x, rules=rules)  # type: ignore[arg-type]

"""Every public name of Captum is here with its parameters, or said to be elsewhere."""

from __future__ import annotations

import importlib
import inspect
import itertools
from types import ModuleType
from typing import Any

import captum.attr
import captum.concept
import captum.metrics
import captum.robust
import pytest
import torch

import torchattr.captum as ours
from torchattr.captum.elsewhere import ELSEWHERE

MODULES = (captum.attr, captum.metrics, captum.robust, captum.concept)
PUBLIC = [(module, name) for module in MODULES for name in module.__all__]

HERE = [(module, name) for module, name in PUBLIC if name not in ELSEWHERE]
CLASSES = [name for module, name in HERE if inspect.isclass(getattr(module, name))]


def _attribute(module: ModuleType, name: str) -> Any:
    return getattr(getattr(module, name, None), "attribute", None)


# What Captum's methods take and do not use.
IGNORED = {
    ("FeatureAblation", "attribute"): {"kwargs"},
    ("FeaturePermutation", "attribute"): {"kwargs"},
}
# Internals of Captum that are no part of what its pages describe.
INTERNAL = {
    ("LayerGradientXActivation", "multiply_gradient_acts"),
    *(
        (name, "satisfies_attribute_criteria")
        for name in ("DeepLift", "DeepLiftShap", "LayerDeepLift", "LayerDeepLiftShap")
    ),
    *((name, "init") for name in ("Count", "Mean", "MSE", "Var", "StdDev", "Min", "Max", "Sum")),
}


def test_each_name_is_here_or_elsewhere() -> None:
    missing = [name for _, name in HERE if not hasattr(ours, name)]
    assert missing == []
    assert len(HERE) > 50


@pytest.mark.parametrize("module", MODULES[1:], ids=lambda module: module.__name__)
def test_each_module_has_its_names(module: ModuleType) -> None:
    own = importlib.import_module(module.__name__.replace("captum", "torchattr.captum"))
    assert [name for name in module.__all__ if not hasattr(own, name)] == []


@pytest.mark.parametrize(("module", "name"), HERE, ids=[name for _, name in HERE])
def test_parameters_are_captums(module: ModuleType, name: str) -> None:
    compared = 0
    for function, theirs in _functions(getattr(module, name)):
        # It raises, whatever it is given.
        if (name, function) in INTERNAL or function == "attribute_future":
            continue
        found = getattr(ours, name) if not function else getattr(getattr(ours, name), function)
        ignored = IGNORED.get((name, function), set())
        wanted = [_identity(one) for one in _parameters(theirs) if one.name not in ignored]
        own = _parameters(found)
        further = [one for one in own[len(wanted) :] if one.kind is not one.KEYWORD_ONLY]
        assert [_identity(one) for one in own[: len(wanted)]] == wanted, function
        assert further == [], function
        compared += 1
    assert compared or name in ("visualization", "StatValue", "Perturbation")


@pytest.mark.parametrize("name", [name for _, name in HERE if hasattr(captum.attr, name)])
def test_base_classes_are_captums(name: str) -> None:
    theirs, own = getattr(captum.attr, name), getattr(ours, name)
    if not inspect.isclass(theirs):
        return
    from captum.attr._utils.attribution import InternalAttribution

    bases = [
        "Attribution",
        "GradientAttribution",
        "PerturbationAttribution",
        "LayerAttribution",
        "NeuronAttribution",
    ]
    kinds = [base for base in bases if issubclass(theirs, getattr(captum.attr, base))]
    assert [base for base in bases if issubclass(own, getattr(ours, base))] == kinds
    internal = issubclass(theirs, InternalAttribution)
    assert issubclass(own, ours.InternalAttribution) is internal


def test_methods_count_as_the_methods_that_captum_derives_them_from() -> None:
    classes = [name for _, name in HERE if inspect.isclass(getattr(captum.attr, name, None))]
    derived = [
        (name, base)
        for name, base in itertools.permutations(classes, 2)
        if issubclass(getattr(captum.attr, name), getattr(captum.attr, base))
    ]
    assert ("KernelShap", "Lime") in derived
    lost = [
        (name, base)
        for name, base in derived
        if not issubclass(getattr(ours, name), getattr(ours, base))
    ]
    assert lost == []
    methods = [name for name in classes if issubclass(getattr(ours, name), ours.Attribution)]
    added = [
        (name, base)
        for name, base in itertools.permutations(methods, 2)
        if issubclass(getattr(ours, name), getattr(ours, base)) and (name, base) not in derived
    ]
    assert added == []


LOGGED = [name for name in CLASSES if hasattr(_attribute(captum.attr, name), "__wrapped__")]


@pytest.mark.parametrize("name", LOGGED)
def test_parameters_are_read_where_captum_ends_to_log(name: str) -> None:
    # Captum logs calls of `attribute`, and scripts that read its parameters or do not log go below.
    theirs = inspect.getfullargspec(inspect.unwrap(_attribute(captum.attr, name)))
    own = inspect.getfullargspec(_attribute(ours, name).__wrapped__)
    assert own.args == theirs.args
    assert own.defaults == theirs.defaults


def test_methods_are_called_where_captum_ends_to_log() -> None:
    assert len(LOGGED) > 30
    saliency, x = ours.Saliency(torch.nn.Linear(3, 4)), torch.rand(2, 3)
    found = _attribute(ours, "Saliency").__wrapped__(saliency, x, target=-1)
    assert torch.equal(found, saliency.attribute(x, target=3))


def _functions(value: Any) -> list[tuple[str, Any]]:
    """Return the functions of a class that users call, or the function itself."""
    if inspect.isfunction(value):
        return [("", value)]
    if not inspect.isclass(value):
        return []
    names = ["__init__", *(name for name in dir(value) if not name.startswith("_"))]
    found = [(name, getattr(value, name, None)) for name in names]
    return [(name, one) for name, one in found if inspect.isfunction(one)]


def _parameters(function: Any) -> list[inspect.Parameter]:
    if not inspect.isfunction(function):  # a class without a constructor of its own
        return [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    return list(inspect.signature(function).parameters.values())


def _identity(one: inspect.Parameter) -> tuple[Any, ...]:
    default = one.default
    if inspect.isfunction(default) or inspect.isbuiltin(default):
        default = default.__name__
    return one.name, one.kind, default

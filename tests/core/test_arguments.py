"""Values of flags, and names of arguments, that are refused by every method."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from helpers import refused
from torch import nn

import torchattr as ta
from torchattr import captum
from torchattr.core.arguments import (
    check_arguments,
    check_choice,
    checked_flags,
    checked_texts,
    is_iterable,
)
from torchattr.errors import InputError, InputTypeError
from torchattr.evaluate import blocks
from torchattr.evaluate.ranked_masks import as_fractions

NET = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
X = torch.rand(2, 3)


def classes(package: Any) -> dict[str, type[ta.Attribution]]:
    found = {name: getattr(package, name) for name in dir(package)}
    return {
        f"{package.__name__}.{name}": one
        for name, one in found.items()
        if inspect.isclass(one) and issubclass(one, ta.Attribution) and not inspect.isabstract(one)
    }


def flags(function: Any) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [one.name for one in parameters if one.annotation in (bool, "bool")]


METHODS = {**classes(ta), **classes(captum)}
OF_OBJECTS = [(name, flag) for name, one in METHODS.items() for flag in flags(one)]
OF_CALLS = [(name, flag) for name, one in METHODS.items() for flag in flags(one.attribute)]


def required(function: Any) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    fixed = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = (one for one in parameters if one.default is one.empty and one.kind not in fixed)
    return {one.name: NET for one in needed}


@pytest.mark.parametrize(("name", "flag"), OF_OBJECTS)
@pytest.mark.parametrize("value", ["no", None, 0.0], ids=repr)
def test_a_flag_of_an_object_is_true_or_false(name: str, flag: str, value: Any) -> None:
    needed = {**required(METHODS[name]), flag: value}
    with refused(InputTypeError, f"{flag} must be True or False, got {value!r}"):
        METHODS[name](**needed)


@pytest.mark.parametrize(("name", "flag"), OF_CALLS)
def test_a_flag_of_a_call_is_true_or_false(name: str, flag: str) -> None:
    attribute = METHODS[name].attribute
    needed = {**required(attribute), "self": object.__new__(METHODS[name])}
    with refused(InputTypeError, f"{flag} must be True or False, got 'no'"):
        attribute(**needed, **{flag: "no"})


def test_there_are_flags() -> None:
    assert len(OF_OBJECTS) > 30
    assert len(OF_CALLS) > 30


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_], ids=repr)
def test_numpy_s_flags_are_flags(value: Any) -> None:
    ta.Saliency(NET, strict=value)


def test_a_flag_by_its_position() -> None:
    class Method:
        def attribute(self, inputs: float, signed: bool = True) -> tuple[float, bool]:
            return inputs, signed

    check_arguments(Method, "attribute", "missing")
    assert Method().attribute(1.0, False) == (1.0, False)
    assert Method().attribute(inputs=1.0) == (1.0, True)
    with refused(InputTypeError, "signed must be True or False, got 'yes'"):
        Method().attribute(1.0, "yes")  # type: ignore[arg-type]
    assert list(inspect.signature(Method.attribute).parameters) == ["self", "inputs", "signed"]
    assert inspect.getfullargspec(Method.attribute).args == ["self", "inputs", "signed"]


def test_methods_of_one_s_own_are_checked() -> None:
    class Signed(ta.GradientAttribution):
        def __init__(self, model: Any, *, signed: bool = True) -> None:
            super().__init__(model)
            self.signed = signed

    with refused(InputTypeError, "signed must be True or False, got 'no'"):
        Signed(NET, signed="no")  # type: ignore[arg-type]


@pytest.mark.parametrize("method", [ta.Saliency, ta.LRP, ta.FeatureAblation, ta.GradCAM])
def test_the_name_that_explain_uses_is_translated(method: type[ta.Attribution]) -> None:
    with refused(InputTypeError, "targets is called target here", "pass target=..."):
        method(NET).attribute(X, targets=0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'goal'"):
        method(NET).attribute(X, goal=0)
    with refused(InputTypeError, "input is called inputs here"):
        method(NET).attribute(input=X)


@pytest.mark.parametrize("choices", [("crop", "photo"), {"crop": 1, "photo": 2}])
def test_choices_are_listed_where_there_is_another(choices: Any) -> None:
    check_choice("view", "photo", choices)
    with refused(InputError, "view must be one of 'crop', 'photo', got 'all'"):
        check_choice("view", "all", choices)


NUMBERS = (np.int64(3), np.int32(3), np.uint8(3))


@pytest.mark.parametrize("three", NUMBERS, ids=lambda one: type(one).__name__)
def test_numpy_s_integers_are_counts_and_sizes(three: Any) -> None:
    images = torch.rand(2, 3, 6, 6)
    net = nn.Sequential(nn.Flatten(), nn.Linear(108, 2))
    paths = ta.IntegratedGradients(net).attribute(images, target=0, n_steps=three)
    assert torch.equal(paths, ta.IntegratedGradients(net).attribute(images, target=0, n_steps=3))
    window = (three, three, three)
    covered = ta.Occlusion(net).attribute(
        images, window, strides=three, target=0, perturbations_per_eval=three
    )
    assert torch.equal(covered, ta.Occlusion(net).attribute(images, (3, 3, 3), 3, target=0))
    smooth = ta.SmoothGrad(net)
    found = smooth.attribute(images, target=0, n_samples=three, seed=np.array([1, three]))
    assert torch.equal(found, smooth.attribute(images, target=0, n_samples=3, seed=[1, 3]))
    assert blocks(images, three).shape == (1, 1, 6, 6)
    assert as_fractions(three, 9).tolist() == as_fractions(3, 9).tolist()
    resized = captum.LayerAttribution.interpolate(images, three)
    assert resized.shape == (2, 3, 3, 3)


@pytest.mark.parametrize("half", [np.float32(0.5), np.float64(0.5), np.float16(0.5)])
def test_numpy_s_floats_are_numbers(half: Any) -> None:
    ablated = ta.FeatureAblation(NET)
    found = ablated.attribute(X, baselines=half, target=0)
    assert torch.equal(found, ablated.attribute(X, baselines=0.5, target=0))
    noisy = ta.NoiseTunnel(ta.Saliency(NET)).attribute(X, stdevs=half, nt_samples=2, target=0)
    assert noisy.shape == X.shape
    assert as_fractions(half, 9).tolist() == as_fractions(0.5, 9).tolist()
    assert ta.ExponentialKernel("euclidean", half)


def test_the_model_gets_its_own_arguments_as_they_are() -> None:
    given = []

    def model(x: torch.Tensor, scale: Any) -> torch.Tensor:
        given.append(type(scale))
        return x.sum(1, keepdim=True)

    ta.FeatureAblation(model).attribute(X, additional_forward_args=(np.float32(2),))
    assert set(given) == {np.float32}


@pytest.mark.parametrize("value", [[], {"a": 1}, np.zeros(2), torch.zeros(2), None])
def test_choices_are_compared_with_anything(value: Any) -> None:
    with refused(InputError, "view must be one of 'crop', 'photo'"):
        check_choice("view", value, ("crop", "photo"))


@pytest.mark.parametrize("value", ["cat", b"cat", None, 3, [1], ["cat", None], torch.zeros(2)])
def test_what_are_no_texts_is_named(value: Any) -> None:
    with refused(InputTypeError, "labels must be a sequence of texts"):
        checked_texts(value, "labels")
    assert checked_texts(np.array(["cat"]), "labels") == ["cat"]


def test_what_is_iterated_over_by_positions_is_iterable() -> None:
    class Positions(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 2

        def __getitem__(self, position: int) -> int:
            return range(2)[position]

    for several in ([], (), {}, "a", iter(()), np.zeros(2), torch.zeros(2), Positions()):
        assert is_iterable(several)
    for one in (3, None, object(), len, list):
        assert not is_iterable(one)
    assert list(Positions()) == [0, 1]


def functions_with_flags() -> dict[str, Callable[..., Any]]:
    """The functions of the public modules that have an argument which is true or false."""
    found = {}
    for module in (ta, ta.show, ta.evaluate, ta.concepts, ta.models, ta.results):
        for name in dir(module):
            function = getattr(module, name)
            ours = getattr(function, "__module__", "").startswith("torchattr")
            if inspect.isfunction(function) and ours and flags_of(function):
                found[f"{function.__module__}.{name}"] = function
    return found


def flags_of(function: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(function).parameters.items()
    return [name for name, one in parameters if one.annotation in ("bool", "bool | None")]


@pytest.mark.parametrize("value", ["no", 1, torch.zeros(9, 9)])
@pytest.mark.parametrize("name", functions_with_flags())
def test_plain_functions_refuse_flags_that_are_none(name: str, value: Any) -> None:
    function = functions_with_flags()[name]
    parameters = inspect.signature(function).parameters.values()
    required = {
        one.name: None
        for one in parameters
        if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    }
    for flag in flags_of(function):
        with pytest.raises(InputTypeError, match=f"^{flag} must be True") as caught:
            function(**{**required, flag: value})
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 120


def test_flags_of_functions_may_be_given_by_place_and_may_be_numpys() -> None:
    @checked_flags
    def function(values: list[int], absolute: bool, kept: bool | None = None) -> list[Any]:
        return [*values, absolute, kept]

    assert function([1], np.True_) == [1, True, None]
    assert function([1], False, None) == [1, False, None]
    with pytest.raises(InputTypeError, match="absolute must be True or False, got 'no'"):
        function([1], "no")
    with pytest.raises(InputTypeError, match="kept must be True, False or None, got 3"):
        function([1], True, 3)

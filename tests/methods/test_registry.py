"""Methods by name."""

from __future__ import annotations

from collections.abc import Iterator
from unittest import mock

import pytest
from helpers import refused
from torch import nn

import torchattr as ta
from torchattr.errors import RegistryError
from torchattr.methods import build, class_of, find_method, name_of, registered_methods, takes
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
    assert "occlusion" not in registered_methods()


def test_unknown_names_are_answered_with_the_closest() -> None:
    with refused(RegistryError, "no method is called 'guided-backprob'", "'guided_backprop'"):
        find_method("guided-backprob")
    with refused(RegistryError, "there are: ", "saliency"):
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
    assert [name_of(one) for one in ("x", ta.Saliency, saliency, ta.Occlusion)] == [
        "x",
        "saliency",
        "saliency",
        "Occlusion",
    ]
    assert [class_of(one) for one in ("saliency", ta.Saliency, saliency)] == [ta.Saliency] * 3


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

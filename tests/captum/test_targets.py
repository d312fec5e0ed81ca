"""Captum's targets: a negative class counts from the end, in every method and form."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import torchattr.captum
from torchattr.captum.targets import captums_target
from torchattr.errors import TargetError

MODEL = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).double()
IMAGES = torch.rand(2, 1, 4, 4, dtype=torch.float64)
PLAIN = ["Saliency", "InputXGradient", "GuidedBackprop", "FeatureAblation", "IntegratedGradients"]


class Planes(nn.Module):
    """A model whose output has two dimensions after the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, 0] ** 2).cumsum(1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("target", [-1, torch.tensor(-2), torch.tensor([-3]), np.int64(-1)])
def test_a_negative_class_is_captums(name: str, target: Any) -> None:
    theirs = int(target) if isinstance(target, np.integer) else target
    expected = getattr(captum.attr, name)(MODEL).attribute(IMAGES, target=theirs)
    found = getattr(torchattr.captum, name)(MODEL).attribute(IMAGES, target=target)
    torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("target", [(-1, 0), [(-1, -2), (0, 3)]])
def test_negative_positions_are_captums(target: Any) -> None:
    expected = captum.attr.Saliency(Planes()).attribute(IMAGES, target=target)
    found = torchattr.captum.Saliency(Planes()).attribute(IMAGES, target=target)
    torch.testing.assert_close(found, expected)


def test_a_negative_class_out_of_range_is_refused() -> None:
    with pytest.raises(TargetError, match="target -4 is out of range"):
        torchattr.captum.Saliency(MODEL).attribute(IMAGES, target=-4)
    with pytest.raises(TargetError, match="does not name one entry for each of 2 examples"):
        torchattr.captum.Saliency(Planes()).attribute(IMAGES, target=-1)


def test_other_targets_stay_as_they_are() -> None:
    for target in (None, 1, [0, 2], (1, 2), len, torch.tensor([0, 1])):
        assert captums_target(target) is target


def test_every_method_with_a_target_takes_captums() -> None:
    names = [name for name in dir(torchattr.captum) if hasattr(captum.attr, name)]
    for cls in (getattr(torchattr.captum, name) for name in names):
        attribute = getattr(cls, "attribute", None)
        if attribute and "target" in inspect.signature(attribute).parameters:
            assert any("captums_target" in one.__code__.co_names for one in unwrapped(attribute)), (
                cls
            )


def unwrapped(function: Any) -> Iterator[Any]:
    """Yield a function and all that it wraps."""
    while function is not None:
        yield function
        function = getattr(function, "__wrapped__", None)


def test_each_method_keeps_its_own_attribute() -> None:
    """Not that of a base class that was given Captum's targets before."""
    assert torchattr.captum.Saliency(MODEL).attribute(IMAGES, target=-1).min() >= 0
    parameters = inspect.signature(torchattr.captum.Saliency.attribute).parameters
    assert "abs" in parameters
    with pytest.raises(TypeError, match="colour"):
        torchattr.captum.Saliency(MODEL).attribute(IMAGES, colour=1)

"""What the ablations of layers share: which layers, which of their values, and in which form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import LayerError, LayerReuseWarning


class Net(nn.Module):
    """A layer that is used twice, and one of two values."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice, self.both = nn.Linear(3, 4), nn.Linear(4, 4), Both()

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.both(self.twice(self.twice(self.first(x)).tanh()))
        return left * 3 + right


class Both(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.sin(), x.cos()


MODEL, X = seeded(Net).double(), noise(2, 3)


def ablated(layer: Any, **options: Any) -> Any:
    return ta.LayerFeatureAblation(MODEL, layer).attribute(X, target=1, **options)


def test_the_form_is_that_of_the_layers_values() -> None:
    left, right = ablated("both")
    values = MODEL.both(MODEL.twice(MODEL.twice(MODEL.first(X)).tanh()))
    expected = torch.zeros(2, 4).double()
    expected[:, 1] = 3 * values[0][:, 1].detach()
    assert_same(left, expected, 1e-12)
    assert_same(right[:, 1], values[1][:, 1].detach(), 1e-12)
    several = ablated(["first", "both"])
    assert list(several) == ["first", "both"]
    assert_same(several["first"], ablated(MODEL.first))


def test_of_several_calls_the_last_one_is_replaced() -> None:
    with pytest.warns(LayerReuseWarning, match="'twice' was called 2 times"):
        found = ablated("twice")
    x = MODEL.twice(MODEL.twice(MODEL.first(X)).tanh()).detach()
    expected = torch.zeros(2, 4).double()
    expected[:, 1] = 3 * x[:, 1].sin() + x[:, 1].cos() - 1
    assert_same(found, expected, 1e-12)


def test_a_layer_that_does_not_exist_is_refused() -> None:
    with refused(LayerError, "'nowhere'"):
        ablated("nowhere")


def test_without_a_name_the_last_spatial_layer_is_taken() -> None:
    model = seeded(
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    )
    images = noise(2, 1, 4, 4, dtype=torch.float32)
    with pytest.warns(ta.errors.LayerChoiceWarning):
        found = ta.LayerFeatureAblation(model).attribute(images, target=1)
    assert_same(found, ta.LayerFeatureAblation(model, "1").attribute(images, target=1))

"""Layers whose values are not maps of the inputs are refused with a reason, by every function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers import Part, noise, refused
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import LayerError
from torchattr.inspect.spatial_calls import spatial_calls


class Net(nn.Module):
    """Runs a given layer in the middle, and uses the first tensor that it returns."""

    def __init__(self, made: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.part, self.head = nn.Conv2d(3, 4, 3, padding=1), Part(made), nn.Linear(1, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = first(self.part(self.conv(x).relu()))
        return self.head(y.reshape(len(x), -1).mean(1, keepdim=True))


def first(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    return first(next(iter(value.values())) if isinstance(value, dict) else value[0])


X = noise(2, 3, 8, 8, dtype=torch.float32)
CALLS: dict[str, Callable[[nn.Module], Any]] = {
    "picture": lambda model: ta.feature_maps(model, X, "part").picture("part"),
    "strongest": lambda model: ta.feature_maps(model, X, "part").strongest("part"),
    "layer by layer": lambda model: ta.layer_by_layer(model, X, "part", target=1),
    "top patches": lambda model: ta.top_patches(model, X, "part", 0),
    "receptive field": lambda model: ta.receptive_field(model, X, "part", (1, 1)),
    "back projection": lambda model: ta.back_project(model, X, "part", 0),
    "places": lambda model: spatial_calls(model, X, "part"),
}

OTHER_ROWS: dict[str, Callable[[Tensor], Tensor]] = {
    "frames": lambda x: x.reshape(4, 2, 8, 8),
    "regions": lambda x: torch.cat([x, x, x]),
    "patches": lambda x: (
        x.unfold(2, 4, 4).unfold(3, 4, 4).flatten(2, 3).transpose(1, 2).flatten(0, 1)
    ),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", OTHER_ROWS)
def test_rows_that_are_not_the_inputs(name: str, call: str) -> None:
    model = Net(OTHER_ROWS[name]).eval()
    with refused(LayerError, "'part'", "batch", "choose another layer"):
        CALLS[call](model)


@pytest.mark.parametrize("name", OTHER_ROWS)
def test_patterns_and_notebooks_leave_them_out(name: str) -> None:
    model = Net(OTHER_ROWS[name]).eval()
    assert list(ta.layer_by_layer(model, X, "*", target=1)) == ["conv"]
    assert list(spatial_calls(model, X, "[cp]*")) == ["conv"]
    maps = ta.feature_maps(model, X, ["conv", "part"])
    assert torch.equal(maps["part"], OTHER_ROWS[name](maps["conv"].relu()))
    assert [caption.split(":")[0] for caption, _ in maps._shown()] == ["conv"]


NO_TENSOR: dict[str, Callable[[Tensor], Any]] = {
    "a dict": lambda x: {"a": x, "b": x[:, :2]},
    "a list of lists": lambda x: [[x, x]],
    "several": lambda x: (x, x + 1),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", NO_TENSOR)
def test_values_that_are_not_one_tensor(name: str, call: str) -> None:
    with refused(LayerError):
        CALLS[call](Net(NO_TENSOR[name]).eval())

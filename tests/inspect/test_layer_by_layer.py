from __future__ import annotations

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import LayerReuseWarning
from torchattr.inspect import TITLES
from torchattr.show import Look
from torchattr.show.elements import Raster
from torchattr.show.text import TextLine


class Net(nn.Module):
    """Counts its forwards, and defines its layers in another order than it calls them."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.head = nn.Linear(6, 4)
        self.second = nn.Conv2d(5, 6, 3)
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.relu = nn.ReLU()
        self.unused = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        self.count += torch.is_grad_enabled()
        x = self.relu(self.second(self.relu(self.first(x))))
        return self.head(x.mean((2, 3)))


X = noise(2, 3, 10, 9)
MODEL = seeded(Net).double()


def test_each_map_is_the_methods_own() -> None:
    found = ta.layer_by_layer(MODEL, X, ["second", "first"], target=[1, 3])
    assert list(found) == ["first", "second"]
    assert len(found) == 2
    for name, one in found.items():
        alone = ta.GradCAM(MODEL, name).attribute(X, [1, 3], relu_attributions=True)
        assert_same(one, alone)
    guided = ta.layer_by_layer(MODEL, X, ["second", "first"], "guided_grad_cam", [1, 3])
    for name, one in guided.items():
        alone = ta.GuidedGradCAM(MODEL, name).attribute(X, [1, 3], interpolate_mode="bilinear")
        assert_same(one, alone)


def test_all_layers_come_from_one_forward() -> None:
    model = seeded(Net).double()
    ta.layer_by_layer(model, X, "[!u]*", "guided_grad_cam", 0, calls="last")
    assert model.count == 1


def test_the_default_is_every_convolution_that_ran() -> None:
    found = ta.layer_by_layer(MODEL, X)
    assert list(found) == ["first", "second"]
    assert [tuple(one.shape) for one in found.values()] == [(2, 1, 10, 9), (2, 1, 8, 7)]


def test_a_pattern_leaves_out_what_has_no_places_but_a_name_is_refused() -> None:
    with pytest.warns(LayerReuseWarning, match="relu"):
        found = ta.layer_by_layer(MODEL, X, "*")
    assert list(found) == ["first", "relu", "second"]
    with refused(ta.LayerError, "'head'", "(2, 4)"):
        ta.layer_by_layer(MODEL, X, ["first", "head"])
    with refused(ta.LayerError, "'unused'", "did not run"):
        ta.layer_by_layer(MODEL, X, MODEL.unused)
    with refused(ta.LayerError, "none of these layers"):
        ta.layer_by_layer(MODEL, X, "hea*")
    with refused(ta.LayerError, "no layer 'x'"):
        ta.layer_by_layer(MODEL, X, "x")


def test_other_arguments_are_refused() -> None:
    with refused(ta.InputError, "method", "'cam'"):
        ta.layer_by_layer(MODEL, X, method="cam")
    with refused(ta.InputError, "calls='each'"):
        ta.layer_by_layer(MODEL, X, calls="each")
    with refused(ta.LayerError, "no convolution"):
        ta.layer_by_layer(nn.Linear(9, 2).double(), X)
    with refused(ta.ShapeError, "one tensor"):
        ta.layer_by_layer(MODEL, (X, X))
    with pytest.raises(KeyError, match="available: first, second"):
        ta.layer_by_layer(MODEL, X)["third"]


@pytest.mark.parametrize("method", ["grad_cam", "guided_grad_cam"])
def test_picture_has_a_place_for_each_layer(method: str) -> None:
    found = ta.layer_by_layer(MODEL, X, method=method, target=0)
    assert repr(found) == f"LayerMaps({method}: first, second)"
    drawn = found.draw(1, columns=2, target="cat", look=Look(scale=2))
    maps = [one for one in drawn.elements if isinstance(one, Raster)][1:-1]
    assert len(maps) == 2
    assert all(min(one.box[2:]) == 192 for one in maps)
    texts = [one.text for one in drawn.elements if isinstance(one, TextLine)]
    assert texts[0] == f"{TITLES[found.method]} layer by layer: cat"
    assert "first" in texts
    largest = float(found["second"][1].max().clamp(min=0))
    sized = [text for text in texts if text.startswith("8 × 7 · max ")]
    assert sized == ([f"8 × 7 · max {largest:.3g}"] if method == "grad_cam" else [])
    assert found.picture(image=torch.zeros(3, 40, 36), columns=1).height > 2 * 192
    with refused(ta.InputError, "example 2"):
        found.picture(2)

"""Networks whose cells cannot mix, against their pictures one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, LayerError, OutputError, ShapeError
from torchattr.evaluate import DisconnectedGrid, grid_localisation, picture_grid

EXACT = 1e-12


class Net(nn.Module):
    """A body that mixes pixels, and a head."""

    def __init__(self) -> None:
        super().__init__()
        first = (nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.body = nn.Sequential(*first, nn.Conv2d(6, 8, 3, padding=1), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


MODEL = seeded(Net).double()
GRID = picture_grid(noise(8, 3, 8, 12), [0, 1, 2, 3, 4, 5, 0, 1], count=3)
HALVES = [(slice(0, 8), slice(0, 12)), (slice(8, 16), slice(12, 24))]
CELLS = [(HALVES[k // 2][0], HALVES[k % 2][1]) for k in range(4)]


@pytest.mark.parametrize("layer", [None, "body"])
def test_each_cell_is_a_picture_of_its_own(layer: str | None) -> None:
    found = DisconnectedGrid(MODEL, layer)(GRID.pictures)
    for k, (rows, columns) in enumerate(CELLS):
        assert_same(found[:, k], MODEL(GRID.pictures[:, :, rows, columns]), EXACT)


def test_each_head_sees_a_cell_of_the_layer() -> None:
    found = DisconnectedGrid(MODEL, "body", setting="part")(GRID.pictures)
    values = MODEL.body(GRID.pictures)
    for k in range(4):
        rows = slice(4 * (k // 2), 4 * (k // 2) + 4)
        columns = slice(6 * (k % 2), 6 * (k % 2) + 6)
        assert_same(found[:, k], MODEL.head(values[:, :, rows, columns]), EXACT)


def test_grids_of_other_shapes() -> None:
    found = DisconnectedGrid(MODEL, "body", (1, 4), setting="part")(noise(2, 3, 8, 32))
    assert found.shape == (2, 4, 6)


@pytest.mark.parametrize("method", [ta.Saliency, ta.GuidedBackprop, ta.LRP, ta.DeepLift])
@pytest.mark.parametrize("layer", [None, "body"])
def test_maps_of_a_cell_lie_in_it(method: Any, layer: str | None) -> None:
    apart = DisconnectedGrid(MODEL, layer)
    for k, (rows, columns) in enumerate(CELLS):
        found = method(apart).attribute(GRID.pictures, target=GRID.cell_targets[k])
        own = found[:, :, rows, columns].clone()
        alone = GRID.pictures[:, :, rows, columns]
        assert_same(own, method(MODEL).attribute(alone, target=GRID.targets[k]), 1e-9)
        found[:, :, rows, columns] = 0
        assert not found.any()


def test_class_activation_maps_read_the_joined_layer() -> None:
    for setting in ("full", "part"):
        apart = DisconnectedGrid(MODEL, "body", setting=setting)
        method = ta.LayerCAM(apart, layer="features")
        maps = [method.attribute(GRID.pictures, target=one) for one in GRID.cell_targets]
        assert maps[0].shape == (3, 1, 8, 12)
        shares = grid_localisation(torch.stack(maps, 1))
        assert torch.allclose(shares, torch.ones_like(shares))


def test_only_receptive_fields_reach_over_borders() -> None:
    apart = DisconnectedGrid(MODEL, "body", setting="part")
    found = ta.Saliency(apart).attribute(GRID.pictures, target=GRID.cell_targets[0])
    assert found[:, :, 8:, 12:].any()
    assert not found[:, :, 8 + 4 :].any()
    assert not found[:, :, :, 12 + 4 :].any()


def test_the_model_is_left_as_it_was() -> None:
    apart = DisconnectedGrid(MODEL, "body")
    assert apart.training is MODEL.training is False
    with refused(ShapeError, "pictures must be (N, C, h, w)", "(1, 3, 9, 8)"):
        apart(noise(1, 3, 9, 8))
    assert not MODEL.body._forward_hooks
    assert_same(MODEL(GRID.pictures), MODEL(GRID.pictures), 0)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relu, self.norm = nn.ReLU(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.relu(x)).flatten(1)


class Aside(Twice):
    """Its scores do not depend on the layer."""

    def forward(self, x: Tensor) -> Tensor:
        self.norm(x)
        return x.flatten(1)


class Pair(Twice):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm((x, x))[0].flatten(1)


@pytest.mark.parametrize(
    ("model", "layer", "error", "says"),
    [
        (Twice, "relu", LayerError, "'relu' runs more than once"),
        (Aside, "norm", OutputError, "scores (8, classes) for the 4 cells of 2 grids"),
        (Pair, "norm", LayerError, "returns tuple, not a single tensor"),
    ],
)
def test_layers_that_cannot_be_cut(model: Any, layer: str, error: Any, says: str) -> None:
    with refused(error, says):
        DisconnectedGrid(model(), layer, setting="part")(noise(2, 1, 4, 4))


def test_values_that_the_grid_does_not_divide() -> None:
    with refused(ShapeError, "the values of layer 'body'", "(2, 8, 3, 4)"):
        DisconnectedGrid(MODEL, "body", setting="part")(noise(2, 3, 6, 8))


def test_wrong_arguments_are_named() -> None:
    with refused(InputError, "pass the last layer with spatial dimensions as layer"):
        DisconnectedGrid(MODEL, setting="part")
    with refused(InputError, "setting must be 'full' or 'part', got 'half'"):
        DisconnectedGrid(MODEL, setting="half")  # type: ignore[arg-type]
    with refused(InputTypeError, "model must be a module, got function"):
        DisconnectedGrid(lambda x: x)  # type: ignore[arg-type]
    with refused(LayerError, "bodi"):
        DisconnectedGrid(MODEL, "bodi")


@pytest.mark.parametrize("is_training", [False, True])
def test_all_of_it_is_in_the_mode_of_the_model(is_training: bool) -> None:
    apart = DisconnectedGrid(nn.Conv2d(1, 1, 1).train(is_training))
    assert {module.training for module in apart.modules()} == {is_training}

"""The bundled photographs for a real network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from torchattr.errors import InputError
from torchattr.evaluate import benchmark
from torchattr.evaluate.ground_truth.measured_methods import MANY
from torchattr.evaluate.ground_truth.photograph_pictures import (
    BOXES,
    photograph_grid,
    photograph_pictures,
)
from torchattr.models import LoadedModel, example
from torchattr.models.photographs import NAMES

SIDE = 32


class FourColours(nn.Module):
    """Knows four classes by the mean colour of a picture, at any size."""

    def __init__(self, means: torch.Tensor) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.conv.weight.data = means[:, :, None, None].clone()
        self.conv.bias.data = -(means**2).sum(1) / 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.conv(x) + 9).mean((2, 3))


def squeezed(image):
    from torchvision.transforms.functional import pil_to_tensor

    return pil_to_tensor(image.resize((SIDE, SIDE))).float() / 255


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    means = torch.stack([squeezed(example(name)).mean((1, 2)) for name in NAMES])
    return LoadedModel("colours", FourColours(means).eval(), squeezed, activation="softmax")


@pytest.mark.filterwarnings("ignore::torchattr.models.GeometryWarning")
def test_masks_are_the_boxes_as_the_network_sees_them(loaded) -> None:
    assert tuple(BOXES) == NAMES
    pictures = photograph_pictures(loaded)
    assert pictures.targets.tolist() == [0, 1, 2, 3]
    for name, (left, top, right, bottom) in zip(NAMES, pictures.boxes, strict=True):
        width, height = example(name).size
        box = BOXES[name]
        assert 0 <= box.x0 < box.x1 <= width
        assert 0 <= box.y0 < box.y1 <= height
        assert abs(left - box.x0 * SIDE / width) <= 0.5
        assert abs(right - box.x1 * SIDE / width) <= 0.5
        assert abs(top - box.y0 * SIDE / height) <= 0.5
        assert abs(bottom - box.y1 * SIDE / height) <= 0.5


@pytest.mark.filterwarnings("ignore::torchattr.models.GeometryWarning")
def test_the_grid_has_each_photograph_in_its_cell(loaded) -> None:
    grid = photograph_grid(loaded)
    assert grid.asked.inputs.shape == (1, 3, 2 * SIDE, 2 * SIDE)
    whole, alone = grid.asked.inputs[0], photograph_pictures(loaded).inputs
    for cell, mask in enumerate(grid.masks):
        assert torch.equal(whole[:, mask].view(3, SIDE, SIDE), alone[cell])


@pytest.mark.filterwarnings("ignore::torchattr.models.GeometryWarning")
def test_equal_classes_and_other_outputs_are_refused(loaded) -> None:
    constant = LoadedModel(
        "constant", nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 5)), squeezed
    )
    nn.init.zeros_(constant.model[1].weight)
    with pytest.raises(InputError, match=r"predicts .* for cat, coffee, rocket, camera; leave out"):
        photograph_grid(constant)
    single = LoadedModel("single", nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 1)), squeezed)
    with pytest.raises(InputError, match="scores of several classes"):
        photograph_pictures(single)


@pytest.mark.filterwarnings("ignore::torchattr.models.GeometryWarning")
def test_the_benchmark_on_them_runs_what_shares_a_forward(loaded) -> None:
    found = benchmark("photographs", model=loaded, metrics=["mass", "grid"])
    assert found.values.shape == (4, len(found.methods), 2)
    assert found.refused["rise"] == MANY
    assert {"saliency", "guided_backprop", "lrp"} <= set(found.methods)
    assert found.seed is None

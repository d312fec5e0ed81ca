"""Sentences about the shapes that made a forward fail."""

from __future__ import annotations

import pytest
import torch
from helpers import refused
from torch import Tensor, nn
from torchvision import models

import torchattr as ta
from torchattr.core.misshapen_inputs import raise_if_misshapen
from torchattr.errors import ShapeError, TargetError


def net(convolution: type[nn.Module], pool: type[nn.Module]) -> nn.Module:
    return nn.Sequential(convolution(3, 4, 3), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(4, 2))


NET = net(nn.Conv2d, nn.AdaptiveAvgPool2d)
NETS = {
    1: net(nn.Conv1d, nn.AdaptiveAvgPool1d),
    2: NET,
    3: net(nn.Conv3d, nn.AdaptiveAvgPool3d),
}


class Normed(nn.Module):
    """Fails with the batch-norm, not with a layer behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)).mean((2, 3))


class Unpacking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        _, _, height, _ = x.shape
        return self.conv(x).mean((2, 3)) * height


class Averaging(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3))


WRONG = {
    (3, 8, 8): ("batch dimension is missing", "inputs.unsqueeze(0)"),
    (1, 8, 8): ("batch dimension is missing", "inputs.unsqueeze(0).expand(-1, 3, -1, -1)"),
    (8, 8, 3): ("batch dimension is missing", "inputs.unsqueeze(0).permute(0, 3, 1, 2)"),
    (1, 1, 8, 8): ("1 channel instead of 3", "inputs.expand(-1, 3, -1, -1)"),
    (1, 2, 8, 8): ("2 channels instead of 3", "a tensor (N, 3, height, width)"),
    (1, 4, 8, 8): ("4 channels instead of 3", "inputs[:, :3]"),
    (2, 8, 8, 3): ("channels come last", "inputs.permute(0, 3, 1, 2)"),
    (8, 8): ("2 dimensions instead of 4", "a tensor (N, 3, height, width)"),
    (1, 1, 3, 8, 8): ("5 dimensions instead of 4", "a tensor (N, 3, height, width)"),
}


@pytest.mark.parametrize("shape", WRONG, ids=str)
def test_what_is_wrong_with_a_picture_is_named_and_mended(shape: tuple[int, ...]) -> None:
    x = torch.rand(shape)
    said = (f"inputs has the shape {shape}", "takes (N, 3, height, width)", *WRONG[shape])
    with refused(ShapeError, *said):
        ta.Saliency(NET).attribute(x, target=0)
    if "inputs" in said[-1]:
        mended = eval(said[-1], {"inputs": x})
        assert ta.Saliency(NET).attribute(mended, target=0).shape == mended.shape


@pytest.mark.parametrize("model", [Normed().eval(), Unpacking(), Averaging()], ids=repr)
def test_a_missing_batch_dimension_that_a_later_step_notices(model: nn.Module) -> None:
    with refused(ShapeError, "batch dimension is missing", "inputs.unsqueeze(0)"):
        ta.Saliency(model).attribute(torch.rand(3, 8, 8), target=0)


@pytest.mark.parametrize("dims", NETS)
def test_each_number_of_dimensions_has_its_own_axes(dims: int) -> None:
    axes = {1: "length", 2: "height, width", 3: "depth, height, width"}[dims]
    x = torch.rand(2, *[8] * dims, 3)
    with pytest.raises(ShapeError, match="channels come last") as caught:
        ta.Saliency(NETS[dims]).attribute(x, target=0)
    assert f"takes (N, 3, {axes})" in str(caught.value)
    mended = eval(str(caught.value).rpartition("pass ")[2], {"inputs": x})
    assert mended.shape == (2, 3, *[8] * dims)
    with refused(ShapeError, f"takes (N, 3, {axes})", "unsqueeze(0)"):
        ta.Saliency(NETS[dims]).attribute(torch.rand(3, *[8] * dims), target=0)


@pytest.mark.parametrize("model", [models.resnet18(), models.vit_b_32()], ids=["resnet", "vit"])
def test_networks_of_torchvision(model: nn.Module) -> None:
    with refused(ShapeError, "takes (N, 3, height, width)", "inputs.unsqueeze(0)"):
        ta.Saliency(model.eval()).attribute(torch.rand(3, 224, 224), target=0)


CALLS = {
    "attribute": lambda x: ta.GuidedBackprop(NET).attribute(x, target=0),
    "perturbation": lambda x: ta.RISE(NET).attribute(x, target=0, n_masks=4),
    "path": lambda x: ta.IntegratedGradients(NET).attribute(x, target=0, n_steps=2),
    "layer": lambda x: ta.GradCAM(NET, "0").attribute(x, target=0),
    "explain": lambda x: ta.explain(NET, x, targets=0),
    "feature_maps": lambda x: ta.feature_maps(NET, x, "0"),
    "summary": lambda x: ta.summary(NET, x),
    "function": lambda x: ta.Saliency(lambda given: NET(given)).attribute(x, target=0),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8)], ids=str)
def test_every_kind_of_call_says_it(call: str, shape: tuple[int, ...]) -> None:
    with refused(ShapeError, f"inputs has the shape {shape}", *WRONG[shape]):
        CALLS[call](torch.rand(shape))


def test_one_example_for_a_linear_layer() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    with refused(ShapeError, "(3, 2, 2)", "without a batch dimension", "inputs.unsqueeze(0)"):
        ta.Saliency(model).attribute(torch.rand(3, 2, 2), target=0)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        ta.Saliency(model).attribute(torch.rand(1, 3, 2, 3), target=0)


def failing(message: str) -> RuntimeError:
    return RuntimeError(message)


def test_faults_that_are_not_of_the_input_stay_as_they_are() -> None:
    inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3))
    with pytest.raises(RuntimeError, match="to have 3 channels"):
        ta.Saliency(inner).attribute(torch.rand(1, 3, 8, 8), target=0)
    own = TargetError("expected 4D input")
    for error, modules, inputs in (
        (failing("a fault of the model"), [NET], [torch.rand(3, 8, 8)]),
        (failing("expected 4D input"), [], [torch.rand(3, 8, 8)]),
        (failing("expected 4D input"), [NET], [torch.rand(1, 3, 8, 8)]),
        (failing("expected 4D input"), [NET], [torch.rand(3, 8, 8)] * 2),
        (own, [NET], [torch.rand(3, 8, 8)]),
    ):
        raise_if_misshapen(error, modules, inputs)

"""References that run once for all examples: where, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, seeded
from torch import Tensor
from torchvision import models
from torchvision.models.densenet import DenseNet
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.swin_transformer import SwinTransformer

import torchattr as ta

X, W = noise(4, 6, 6), noise(6, 6, seed=3)
X0 = noise(1, 6, 6, seed=2)
IMAGES = noise(3, 3, 32, 32)
Function = Callable[[Tensor], Tensor]


def rows_of(function: Any, x: Tensor, x0: Tensor, target: Any = 1) -> tuple[Tensor, list[int]]:
    """Return the attributions, and how many rows each forward had."""
    rows: list[int] = []

    def counted(x: Tensor) -> Any:
        rows.append(len(x))
        return function(x)

    return ta.DeepLift(counted).attribute(x, x0, target), rows


def convnext() -> Any:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=4)


def timm_vit() -> Any:
    timm = pytest.importorskip("timm")
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=32, embed_dim=24, depth=2, num_heads=2, num_classes=4
    )


NETWORKS: dict[str, Callable[[], Any]] = {
    "resnet": lambda: ResNet(BasicBlock, [1, 1, 1, 1], num_classes=4),
    "densenet": lambda: DenseNet(4, (2, 2), 8, num_classes=4),
    "convnext": convnext,
    "swin": lambda: SwinTransformer([4, 4], 8, [2, 2], [2, 2], [4, 4], num_classes=4),
    "vit": lambda: models.VisionTransformer(32, 16, 2, 2, 24, 32, num_classes=4),
    "vit of timm": timm_vit,
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("value", [0.0, 0.3])
def test_networks_run_their_baseline_once(name: str, value: float) -> None:
    model = seeded(NETWORKS[name]).double().eval()
    for parameter in model.parameters():
        if parameter.dim() == 1 or not parameter.any():
            parameter.data.add_(0.1 * noise(*parameter.shape))
    start = torch.full_like(IMAGES, value)
    target = [1, 0, 3]
    found, rows = rows_of(model, IMAGES, value, target)  # type: ignore[arg-type]
    assert rows == [1, 3]
    assert_same(found, ta.DeepLift(model).attribute(IMAGES, start, target), 1e-12)


ALONE: dict[str, Function] = {
    "a view of rows": lambda x: F.linear(x.reshape(-1, 6), W).view(-1, 6, 6).tanh()[:, 2],
    "windows": lambda x: x.reshape(-1, 2, 3, 6).flatten(0, 1).softmax(1).view(-1, 6, 6)[:, 2],
    "rows in the middle": lambda x: F.gelu(x.transpose(0, 1)).transpose(0, 1)[:, 0],
    "rows merged with what is outside": lambda x: F.linear(
        F.gelu(x.transpose(0, 1)).reshape(-1, 6), W
    ).view(6, -1, 6).transpose(0, 1).tanh().sum(1),
    "rows merged with heads": lambda x: x.transpose(0, 1).reshape(6, -1, 3).tanh()
    .view(6, -1, 6).transpose(0, 1).mean(1),
    "parts": lambda x: torch.cat([part.tanh() for part in x.chunk(2, 1)], 2).sum(1),
    "products": lambda x: (x @ x.mT * x.sigmoid()).sum(2),
    "padding and rolling": lambda x: F.pad(x, (1, 1)).roll(1, 2).exp().mean(2),
    "squeezed": lambda x: x.unsqueeze(2).sigmoid().squeeze(2).select(1, 3),
    "norms": lambda x: F.layer_norm(F.group_norm(x, 2), (6,))[:, 1],
    "a constant of each row": lambda x: (
        torch.cat([W[:1].expand(len(x), 1, 6), x], 1).tanh().mean(1)
    ),
}  # fmt: skip

TOGETHER: dict[str, Function] = {
    "a sum of rows": lambda x: (x[:, 0] + x.sum((0, 1))).tanh(),
    "a mean of rows": lambda x: (x[:, 0] - x.mean(0).mean(0)).tanh(),
    "a softmax of rows": lambda x: x.softmax(0).square().sum(1),
    "a product of rows": lambda x: (x[:, 0] @ x[:, 1].mT @ x[:, 2]).tanh(),
    "attention of rows": lambda x: F.scaled_dot_product_attention(*[x.transpose(0, 1)] * 3)[0],
    "a norm over rows": lambda x: F.layer_norm(x[:, 0].mT.exp(), (len(x),)).mT,
    "turned rows": lambda x: (x[:, 0] * x.flip(0)[:, 1]).tanh(),
    "the number of rows": lambda x: (x[:, 0] * len(x)).tanh(),
    "a number of rows that is added": lambda x: (x[:, 0] + 0.3 * len(x)).tanh(),
    "numbers for each row": lambda x: (x[:, 0] * torch.rand(len(x), 6, dtype=x.dtype)).tanh(),
    "the first row": lambda x: (x[:, 0] * x[:1, 1]).tanh(),
    "a view across rows": lambda x: (
        x.reshape(2 if len(x) > 1 else 1, -1, 6).tanh().reshape(-1, 6, 6)[:, 0]
    ),
    "a function of rows within others": lambda x: (
        x.transpose(0, 1).reshape(-1, 6).tanh().view(6, -1, 6)[0]
    ),
    "the largest of rows": lambda x: (x[:, 0] + x.amax(0)[0]).tanh(),
    "what is written over": lambda x: x[:, 0].tanh().clone().index_fill_(0, torch.tensor([0]), 2.0),
    "not less than four": lambda x: x.tanh().view(-1 if len(x) > 3 else 4, 36)[:, :6],
}  # fmt: skip


@pytest.mark.parametrize("name", ALONE)
def test_what_treats_rows_alone_runs_once(name: str) -> None:
    found, rows = rows_of(ALONE[name], X, X0)
    assert rows == [1, 4], name
    expected = ta.DeepLift(ALONE[name]).attribute(X, X0.repeat(4, 1, 1), 1)
    assert_same(found, expected, 1e-12)


@pytest.mark.parametrize("name", ALONE)
def test_several_references_run_once_too(name: str) -> None:
    function, rows = ALONE[name], []
    starts = noise(3, 6, 6, seed=4)

    def counted(x: Tensor) -> Tensor:
        rows.append(len(x))
        return function(x)

    found = ta.DeepLiftShap(counted).attribute(X, starts, 1)
    assert rows == [4, 3, 12], name
    each = [ta.DeepLift(function).attribute(X, one.expand_as(X).clone(), 1) for one in starts]
    assert_same(found, torch.stack(each).mean(0), 1e-12)


@pytest.mark.parametrize("name", TOGETHER)
@pytest.mark.filterwarnings("ignore:DeepLiftShap. the attributions")
def test_several_references_of_what_mixes_rows_run_for_each(name: str) -> None:
    function, rows = TOGETHER[name], []

    def counted(x: Tensor) -> Tensor:
        rows.append(len(x))
        return function(x)

    ta.DeepLiftShap(counted).attribute(X, noise(3, 6, 6, seed=4), 1)
    assert rows[-2:] == [12, 12], name


@pytest.mark.parametrize("name", TOGETHER)
@pytest.mark.filterwarnings("ignore:DeepLift. the attributions")
def test_what_mixes_rows_does_not(name: str) -> None:
    torch.manual_seed(3)
    found, rows = rows_of(TOGETHER[name], X, X0)
    assert rows[-2:] == [4, 4], name
    torch.manual_seed(3)
    expected = ta.DeepLift(TOGETHER[name]).attribute(X, X0.repeat(4, 1, 1), 1)
    assert_same(found, expected, 1e-12)


def test_what_needs_equal_rounding_runs_all_rows() -> None:
    rows: list[int] = []

    def model(x: Tensor) -> Tensor:
        rows.append(len(x))
        return (x[:, 0] @ W).tanh()

    ta.DeepLift(model, multiply_by_inputs=False).attribute(X, X0, 1)
    ta.DeepLift(model).attribute(X, X0, 1, custom_attribution_func=lambda m, x, x0: m)
    ta.DeepLift(model).attribute(X, X0.repeat(4, 1, 1), 1)
    assert rows == [4] * 6

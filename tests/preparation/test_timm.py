"""Models of timm, whose batch-norms often include the activation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from foldable import Net, calibrated
from helpers import assert_same, noise
from torch import nn

import torchattr as ta

timm = pytest.importorskip("timm")
layers = timm.layers
pytestmark = pytest.mark.filterwarnings("ignore::torchattr.errors.CoverageWarning")

NORMS: dict[str, tuple[Any, int]] = {
    "with a ReLU": (layers.BatchNormAct2d, 2),
    "with dropout": (lambda n: layers.BatchNormAct2d(n, drop_layer=nn.Dropout), 2),
    "with a leaky ReLU": (lambda n: layers.BatchNormAct2d(n, act_layer=nn.LeakyReLU), 2),
    "without activation": (lambda n: layers.BatchNormAct2d(n, apply_act=False), 2),
    "arithmetic": (layers.FrozenBatchNormAct2d, 0),
    "groups": (lambda n: layers.GroupNormAct(n, 2), 0),
}
"""Norms, and the number of two that are folded."""


@pytest.mark.parametrize("name", NORMS)
def test_norms_with_an_activation(name: str) -> None:
    norm, folded = NORMS[name]
    model = Net()
    model.bn1, model.bn2 = norm(6), norm(6)
    model, x = calibrated(model, 3, 14, 14), noise(2, 3, 14, 14)
    for part in (model.bn1, model.bn2):
        if hasattr(part, "running_mean"):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    fast = ta.prepare(model, x, channels_last=False)
    assert len(fast.report.folded) == folded
    _check(fast, model, x)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("efficientnet_lite0", 49),
        ("regnetx_002", 44),
        ("resnetv2_50", 32),
        ("densenet121", 59),
        ("dpn48b", 33),
        ("mobilenetv3_small_050", 34),
    ],
)
def test_models(name: str, folded: int) -> None:
    model = calibrated(timm.create_model(name, num_classes=5), 3, 64, 64)
    x = noise(2, 3, 64, 64)
    fast = ta.prepare(model, x, channels_last=False)
    assert len(fast.report.folded) == folded
    _check(fast, model, x)


def _check(fast: nn.Module, model: nn.Module, x: torch.Tensor) -> None:
    assert_same(fast(x), model(x), 1e-10)
    for method in (ta.Saliency, ta.GuidedBackprop):
        expected = method(model).attribute(x, target=1)
        assert_same(method(fast).attribute(x, target=1), expected, 1e-9)

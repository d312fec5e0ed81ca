"""torchvision's networks: windows at all positions of a coarse grid, including the corners."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from helpers import noise, reported
from test_torchvision import calibrate, models
from torch import Tensor, nn
from variants import compared

import torchattr as ta
from torchattr.kernels import Request, backends

FAST = {"alexnet": 64, "resnet18": 48, "mobilenet_v2": 48, "squeezenet1_1": 48}
SLOW = {
    "convnext_tiny": 64,
    "densenet121": 64,
    "efficientnet_b0": 64,
    "googlenet": 64,
    "inception_v3": 96,
    "mnasnet1_0": 64,
    "mobilenet_v3_small": 64,
    "regnet_y_400mf": 64,
    "resnet50": 64,
    "shufflenet_v2_x1_0": 64,
    "swin_t": 64,
    "vgg11": 64,
    "vgg16": 64,
}
SIZES = {**FAST, **SLOW}
NAMES = [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
WINDOW = 16
KNOWN = {"alexnet": 0.5, "swin_t": 0.0, "vgg11": 0.6, "vgg16": 0.6}
"""Minimum share of the calls that are computed incrementally.

It is low where small images are pooled to larger ones, and in a transformer.
"""


@lru_cache(maxsize=1)
def network(name: str) -> nn.Module:
    """Build a network in float64 whose batch-norms fit their inputs."""
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        options = {"init_weights": False, "aux_logits": False}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(models, name)(num_classes=10, **options).double()
        model.train(False)
        calibrate(model, SIZES.get(name, 224))
    return model.eval()


def windows(size: int) -> Tensor:
    """Return windows on a coarse grid, one of them clipped at the border."""
    starts = np.linspace(0, size - WINDOW, 3).astype(int)
    mask = torch.zeros(10, 1, 1, size, size, dtype=torch.bool)
    for one, (top, left) in zip(mask, ((y, x) for y in starts for x in starts), strict=False):
        one[..., top : top + WINDOW, left : left + WINDOW] = True
    mask[9, ..., size - 3 :, 5:20] = True
    return mask


@pytest.mark.parametrize("name", NAMES)
def test_gives_what_it_gives_for_whole_pictures(name: str) -> None:
    size = SIZES[name]
    result = compared(network(name), noise(1, 3, size, size, seed=3), windows(size), baseline=0.0)
    result.agree()
    calls = result.recomputed.followed + result.recomputed.whole
    assert result.recomputed.followed >= KNOWN.get(name, 0.9) * calls


@pytest.mark.parametrize("backend", ["torch", "cpu"])
@pytest.mark.parametrize("name", NAMES)
def test_single_precision(name: str, backend: str) -> None:
    reasons = backends()[backend].refusals(Request(torch.device("cpu"), torch.float32))
    if reasons:
        pytest.skip(f"{backend}: {'; '.join(reasons)}")
    size = SIZES[name]
    x = noise(1, 3, size, size, seed=3, dtype=torch.float32)
    model = network(name).float()
    try:
        compared(model, x, windows(size), baseline=0.0, backend=backend).agree()
    finally:
        model.double()


@pytest.mark.slow
def test_a_transformer_is_right_and_says_that_nothing_is_saved() -> None:
    model, x = network("vit_b_32"), noise(1, 3, 224, 224, seed=3)
    nn.init.normal_(model.heads.head.weight, generator=torch.Generator().manual_seed(0))
    occlusion = ta.Occlusion(model)
    window: dict[str, Any] = {"sliding_window_shapes": (3, 64, 64), "strides": (3, 40, 40)}
    found, report = reported(occlusion, x, target=1, **window)
    assert report.followed == 0
    assert str(report).startswith("nothing could be saved")
    expected = occlusion.attribute(x, target=1, incremental=False, **window)
    assert (found - expected).abs().max() <= 1e-10 * expected.abs().max()

"""Lowering calls to operators on changed pixels: which are lowered, and why others are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import noise, seeded
from torch import Tensor, nn
from variants import compared, patches

X = noise(2, 4, 9, 6)
MASKS = patches(np.random.default_rng(3), 5, X)
CONV = seeded(nn.Conv2d, 4, 4, 3, padding=1).double().requires_grad_(False)
LINEAR = seeded(nn.Linear, 2, 3).double().requires_grad_(False)


def calls(model: Any) -> tuple[int, int, str]:
    """Compare on changed copies; return the numbers of incremental and dense calls, and reasons."""
    result = compared(model, X, MASKS)
    result.agree()
    recomputed = result.recomputed
    return recomputed.followed, recomputed.whole, "; ".join(recomputed.reasons)


@pytest.mark.parametrize(
    "model",
    [
        lambda x: x * 2 + 1,
        lambda x: x.to(torch.float64) + torch.arange(4, dtype=x.dtype)[:, None, None],
        lambda x: 2**x,
        lambda x: x.clamp(-0.5, 0.5),
        lambda x: x * torch.tensor([1.0, 2, 3, 4], dtype=x.dtype)[:, None, None],
        lambda x: x[:, [3, 0, 1]].relu(),
        lambda x: torch.cat(x.chunk(2, 1)[::-1], 1),
        lambda x: F.channel_shuffle(x, 2),
        lambda x: F.pad(x, (2, -1, 0, 3), value=0.1),
        lambda x: F.pad(x, (2, 1, 3, 0), mode="reflect"),
        lambda x: F.pad(x, (2, 1, 3, 0), mode="circular"),
        lambda x: F.interpolate(x, scale_factor=2.0),
        lambda x: F.interpolate(x, (3, 2), mode="nearest-exact"),
        lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)),
        lambda x: LINEAR(x.permute(0, 2, 3, 1).reshape(len(x), 9, 6, 2, 2)),
        lambda x: x.mean((2, 3), keepdim=True) * x,
        lambda x: x / (1 + F.adaptive_avg_pool2d(x, 1).abs()),
        lambda x: F.adaptive_max_pool2d(x, (3, 2)),
        lambda x: x.flatten(1),
        lambda x: x.permute(0, 2, 3, 1).flatten(1),
        lambda x: x[:, :, 3, 4],
    ],
)
def test_is_followed(model: Any) -> None:
    followed, whole, reasons = calls(lambda x: model(CONV(x)))
    assert (followed > 1, whole, reasons) == (True, 0, "")


def image(x: Tensor) -> Tensor:
    return torch.linspace(0, 1, 54, dtype=x.dtype).reshape(9, 6)


def buffered(x: Tensor) -> Tensor:
    total = torch.zeros_like(x)
    total += x
    return total


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda x: x.softmax(1), "softmax is not known to keep pixels apart"),
        (lambda x: F.group_norm(x, 2), "group_norm"),
        (lambda x: F.instance_norm(x), "instance_norm"),
        (lambda x: F.interpolate(x, (3, 2), mode="area"), "interpolate mixes pixels"),
        (lambda x: F.interpolate(x, (5, 5), mode="bilinear"), "interpolate mixes pixels"),
        (lambda x: F.interpolate(x, (3, 2), mode="bilinear", antialias=True), "interpolate"),
        (lambda x: F.adaptive_avg_pool2d(x, (4, 4)), "windows of different sizes"),
        (lambda x: F.layer_norm(x, (9, 6)), "layer_norm normalises over pixels"),
        (lambda x: F.linear(x, torch.ones(3, 6, dtype=x.dtype)), "linear mixes pixels"),
        (lambda x: torch.cat([x, x], 2), "joins images"),
        (lambda x: torch.cat([x, image(x).expand(len(x), 1, 9, 6)], 1), "cat"),
        (lambda x: x + image(x), "add adds or multiplies by a constant that differs by pixel"),
        (lambda x: x * image(x), "mul"),
        (lambda x: x.flip(2), "flip does not keep pixels apart"),
        (lambda x: x.roll(1, 3), "roll"),
        (lambda x: x.transpose(2, 3).softmax(2), "softmax"),
        (lambda x: (x > 0) * x, "gt changes the dtype"),
        (lambda x: x.float().double(), "float changes the dtype"),
        (lambda x: x.mean((1, 2)), "mean is not taken over exactly"),
        (lambda x: F.conv_transpose2d(x, torch.ones(4, 2, 2, 2, dtype=x.dtype)), "plain"),
        (lambda x: F.max_pool2d(x, 2, return_indices=True)[0], "changes the dtype"),
        (buffered, "zeros_like"),
    ],
)
def test_says_why_it_is_computed_as_a_whole(model: Any, words: str) -> None:
    followed, whole, reasons = calls(lambda x: model(CONV(x)))
    assert followed >= 1
    assert whole >= 1
    assert words in reasons

"""Patches and convolutions for the tests of Triton's operations on patches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from helpers import noise
from patch_cases import some_boxes

from torchattr.kernels.patches import Boxes, Convolution, Patches
from torchattr.kernels.triton.availability import interpreted

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


IMAGE = np.array([0, 1, 1])


NARROW = [torch.bfloat16, torch.float16]


def patches(channels: int, seed: int = 1, boxes: Boxes | None = None) -> Patches:
    """Return float64 patches of three variants of two images."""
    boxes = boxes or some_boxes(np.random.default_rng(seed), IMAGE, (6, 9))
    clean, changed = noise(2, 6, 9, channels, seed=seed), noise(boxes.rows, channels, seed=seed + 1)
    return Patches(clean.to(DEVICE), changed.to(DEVICE), boxes)


CASES = {
    "many channels": (20, 70, 1, (3, 3)),
    "few channels": (3, 20, 1, (3, 3)),
    "groups": (36, 8, 2, (1, 3)),
    "alone": (40, 40, 40, (3, 3)),
    "alone, wide": (5, 5, 5, (9, 9)),
    "alone, twice": (3, 6, 3, (3, 3)),
}


def convolution(name: str, dtype: torch.dtype = torch.float32) -> Convolution:
    """Return a convolution that keeps the size, scaled where that does not round its weights."""
    inputs, outputs, groups, extent = CASES[name]
    weight = noise(outputs, inputs // groups, *extent, seed=3).to(DEVICE, dtype)
    weight /= weight[0].numel() ** 0.5
    around = (extent[0] // 2, extent[1] // 2)
    bias = noise(outputs, seed=4).to(DEVICE, dtype)
    scale = noise(outputs, seed=5).abs().to(DEVICE, torch.float32)
    scale = scale if dtype == torch.float32 else None
    return Convolution(weight, bias, padding=around, groups=groups, scale=scale)


def rounding(dtype: torch.dtype) -> float:
    """Return the largest error of one rounding; Triton's interpreter truncates to bfloat16."""
    cut = interpreted() and dtype == torch.bfloat16
    return (1.002 if cut else 0.502) * torch.finfo(dtype).eps


def moved(x: Patches) -> Patches:
    """Put the changed rows one element further in memory."""
    room = x.changed.new_empty(x.changed.numel() + 1)[1:].view(x.changed.shape)
    return replace(x, changed=room.copy_(x.changed))

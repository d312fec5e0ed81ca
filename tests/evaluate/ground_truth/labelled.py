"""Small pictures with masks, and a network for them."""

from __future__ import annotations

import torch
from torch import nn

from torchattr.evaluate.ground_truth.labelled_pictures import LabelledPictures

SIDE = 16


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 4),
    ).eval()


def labelled(n: int = 5) -> LabelledPictures:
    """Pictures of noise, whose object is a rectangle that moves from one to the next."""
    generator = torch.Generator().manual_seed(1)
    boxes = [(k % 4, 2 + k % 3, 7 + k % 4, 8 + k % 3) for k in range(n)]
    masks = torch.zeros(n, SIDE, SIDE, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    return LabelledPictures(
        network(),
        torch.randn(n, 3, SIDE, SIDE, generator=generator),
        torch.arange(n) % 4,
        masks,
        boxes,
        "softmax",
    )

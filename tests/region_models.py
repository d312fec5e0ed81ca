"""A segmenter and a detector that are right by construction: they look for colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from torchattr.models import LoadedModel

CODE = '''
import torch
from torch import nn
from torchvision.transforms import Compose, Resize, ToTensor


class Segmenter(nn.Module):
    """The scores of nothing, red and green at each position, in half the resolution."""

    def __init__(self):
        super().__init__()
        self.colours = nn.Conv2d(3, 3, 1)
        self.colours.weight.data = torch.tensor(
            [[0, 0, 0], [2.0, -1, 0], [-1, 2.0, 0]]
        )[..., None, None]
        self.colours.bias.data = torch.tensor([0.5, 0, 0])
        self.pool = nn.AvgPool2d(2)

    def forward(self, x):
        return {"out": self.pool(self.colours(x).relu())}


class Detector(nn.Module):
    """A red box on the left and a green one on the right, if they are there."""

    def __init__(self):
        super().__init__()
        self.colours = nn.Conv2d(3, 2, 1)
        self.colours.weight.data = torch.tensor([[1.0, -1, 0], [-1, 1.0, 0]])[..., None, None]
        self.colours.bias.data.zero_()

    def forward(self, images):
        return [self.detect(image) for image in self.colours(images).relu()]

    def detect(self, maps):
        width, half = maps.shape[2], maps.shape[2] // 2
        sides = [maps[0, :, :half].mean(), maps[1, :, half:].mean()]
        boxes = torch.tensor([[2.0, 2, half - 2, 14], [half + 2, 2, width - 2, 14]])
        found = torch.stack(sides) > 0.05
        labels = torch.tensor([1, 2])
        scores = torch.stack(sides).clamp(max=0.99)
        return {"boxes": boxes[found], "scores": scores[found], "labels": labels[found]}


def segmenter():
    return Segmenter(), Compose([Resize((16, 32)), ToTensor()]), ["nothing", "red", "green"]


def detector():
    return Detector(), Compose([Resize((16, 32)), ToTensor()]), ["nothing", "red", "green"]


def nameless():
    return Detector(), Compose([Resize((16, 32)), ToTensor()])
'''
_made: dict[str, Any] = {}
exec(CODE, _made)


def loaded(name: str) -> LoadedModel:
    """Return `segmenter` or `detector`."""
    model, transform, *names = _made[name]()
    return LoadedModel(name, model.eval(), transform, tuple(names[0]) if names else None)


def picture(right: bool = True) -> Image.Image:
    """Return a picture of 64 × 32 pixels: red on the left, and green on the right, on black."""
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[4:28, 4:28, 0] = 255
    if right:
        pixels[4:28, 36:60, 1] = 255
    return Image.fromarray(pixels)

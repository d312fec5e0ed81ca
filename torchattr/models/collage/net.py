"""A small residual network with several spellings of ReLU, as in real models."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES: tuple[str, ...] = (
    "astronaut",
    "cat",
    "coffee",
    "horse",
    "photographer",
    "retina",
    "rocket",
    "shuttle",
)
"""The classes of the network's outputs."""


def _conv(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, kernel, stride, padding=kernel // 2, bias=False)


class Stem(nn.Module):
    """A strided convolution and a max-pool: (N, 3, H, W) to (N, channels, H / 4, W / 4)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _conv(3, channels, kernel=5, stride=2)
        self.norm = nn.BatchNorm2d(channels)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, normalise, rectify with ``torch.relu``, pool."""
        pooled: Tensor = self.pool(torch.relu(self.norm(self.conv(x))))
        return pooled


class ReusedBlock(nn.Module):
    """A residual block that uses one in-place ``nn.ReLU`` twice, as torchvision's does."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels, channels)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv(channels, channels)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Add two convolutions of the input to it, then rectify."""
        y = self.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        y += x
        rectified: Tensor = self.relu(y)
        return rectified


class FunctionalBlock(nn.Module):
    """A residual block without a ReLU module: ``F.relu`` inside, ``Tensor.relu_`` at the end."""

    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = _conv(inside, outside, stride=stride)
        self.norm1 = nn.BatchNorm2d(outside)
        self.conv2 = _conv(outside, outside)
        self.norm2 = nn.BatchNorm2d(outside)
        self.shortcut = (
            nn.Identity()
            if inside == outside and stride == 1
            else nn.Sequential(
                _conv(inside, outside, kernel=1, stride=stride), nn.BatchNorm2d(outside)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add two convolutions of the input to its shortcut, then rectify in place."""
        inner = F.relu(self.norm1(self.conv1(x)))
        y: Tensor = self.norm2(self.conv2(inner)) + self.shortcut(x)
        y.relu_()
        return y


class CollageNet(nn.Module):
    """Multi-label logits, one for each class: (N, 3, H, W) to (N, classes).

    The sigmoid of a logit is the probability that an object of that class is in the image. An
    input of 128 x 128 has maps of 16 x 16 at `stage3`, the last spatial layer. Pooling is mean
    plus maximum, so that a small object counts as much as a large one.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = Stem(32)
        self.stage1 = nn.Sequential(ReusedBlock(32), ReusedBlock(32))
        self.stage2 = nn.Sequential(FunctionalBlock(32, 64, stride=2), FunctionalBlock(64, 64))
        self.stage3 = nn.Sequential(FunctionalBlock(64, 96))
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.maximum = nn.AdaptiveMaxPool2d(1)
        self.head = nn.Linear(96, classes)

    def features(self, x: Tensor) -> Tensor:
        """Return the output of `stage3`: (N, 96, H / 8, W / 8)."""
        maps: Tensor = self.stage3(self.stage2(self.stage1(self.stem(x))))
        return maps

    def classify(self, maps: Tensor) -> Tensor:
        """Return logits (N, classes) from the output of `features`."""
        logits: Tensor = self.head((self.mean(maps) + self.maximum(maps)).flatten(1))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) of images normalised by `preprocess`."""
        return self.classify(self.features(x))

"""EfficientNet-Lite0: the smallest EfficientNet without attention over channels, and with ReLU6.

The layers are those of the published TensorFlow network, whose convolutions pad as little as a map
of `size / stride` needs: at stride 2 and an even size, one pixel more at the end than at the start.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 1000
STEM, HEAD = 32, 1280
EXPANSION = 6
# TensorFlow's defaults for this network; PyTorch counts the momentum from the other end.
EPSILON, MOMENTUM = 1e-3, 0.01
DROPOUT = 0.2


@dataclass(frozen=True)
class Stage:
    """Blocks of one shape; the first of them changes the channels and the size."""

    blocks: int
    channels: int
    kernel: int
    stride: int
    expansion: int = EXPANSION


STAGES = (
    Stage(1, 16, kernel=3, stride=1, expansion=1),
    Stage(2, 24, kernel=3, stride=2),
    Stage(2, 40, kernel=5, stride=2),
    Stage(3, 80, kernel=3, stride=2),
    Stage(3, 112, kernel=5, stride=1),
    Stage(4, 192, kernel=5, stride=2),
    Stage(1, 320, kernel=3, stride=1),
)
"""The stages between stem and head: EfficientNet-B0's, which Lite0 scales by one."""


class ConvUnit(nn.Module):
    """Convolution, batch-norm and ReLU6: (N, inside, H, W) to (N, outside, H / stride, W / stride).

    rectified: whether there is a ReLU6.
    """

    def __init__(
        self,
        inside: int,
        outside: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        rectified: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inside,
            outside,
            kernel,
            stride,
            padding=kernel // 2 if stride == 1 else 0,
            groups=groups,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(outside, EPSILON, MOMENTUM)
        self.relu = nn.ReLU6(inplace=True) if rectified else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Pad where the convolution does not, convolve, normalise, rectify."""
        if self.conv.stride[0] > 1:
            x = F.pad(x, self._padding(x))
        result: Tensor = self.relu(self.norm(self.conv(x)))
        return result

    def _padding(self, x: Tensor) -> list[int]:
        """Return how much is added left, right, above and below."""
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        height, width = x.shape[-2:]
        needed = [max(kernel - (size % stride or stride), 0) for size in (width, height)]
        return [side for one in needed for side in (one // 2, one - one // 2)]


class InvertedBottleneck(nn.Module):
    """Widen, convolve each channel by itself, narrow; add the input if it has that shape."""

    def __init__(self, inside: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = inside * stage.expansion
        self.expand = ConvUnit(inside, wide) if wide > inside else nn.Identity()
        self.depthwise = ConvUnit(wide, wide, stage.kernel, stride, groups=wide)
        self.project = ConvUnit(wide, stage.channels, rectified=False)
        self.adds = stride == 1 and inside == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the narrow map, which is not rectified."""
        narrow: Tensor = self.project(self.depthwise(self.expand(x)))
        return narrow + x if self.adds else narrow


class EfficientNetLite0(nn.Module):
    """Scores of ImageNet's classes: (N, 3, 224, 224) to (N, 1000); other sizes run as well.

    The last spatial layer is `head`, 7 x 7 for an input of 224 x 224.

    Mingxing Tan and Quoc V. Le, *EfficientNet: Rethinking Model Scaling for Convolutional Neural
    Networks*, 2019, arXiv:1905.11946.

    >>> import torch
    >>> EfficientNetLite0().eval()(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 1000])
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvUnit(3, STEM, kernel=3, stride=2)
        self.blocks = nn.Sequential()
        inside = STEM
        for stage in STAGES:
            for number in range(stage.blocks):
                stride = stage.stride if number == 0 else 1
                self.blocks.append(InvertedBottleneck(inside, stage, stride))
                inside = stage.channels
        self.head = ConvUnit(inside, HEAD)
        self.dropout = nn.Dropout(DROPOUT)
        self.classifier = nn.Linear(HEAD, CLASSES)

    def features(self, x: Tensor) -> Tensor:
        """Return what is averaged: (N, 1280, H / 32, W / 32)."""
        maps: Tensor = self.head(self.blocks(self.stem(x)))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Average the features over space and score each class."""
        scores: Tensor = self.classifier(self.dropout(self.features(x).mean((2, 3))))
        return scores

"""Networks for the tests of relevance, with statistics and biases under which all parts matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from helpers import noise, seeded
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

PICTURES = noise(2, 3, 8, 8)


@torch.no_grad()
def enlivened(model: Any, seed: int = 5) -> Any:
    """Give batch-norms statistics, also negative scales, and every bias a value."""
    generator = torch.Generator().manual_seed(seed)

    def normal(like: Tensor, mean: float, std: float) -> Tensor:
        return mean + std * torch.randn(like.shape, generator=generator, dtype=torch.float64)

    part: Any
    for part in model.double().eval().modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.copy_(normal(part.running_mean, 0, 0.2))
            part.running_var.copy_(normal(part.running_var, 1, 0.3).abs() + 0.1)
            part.weight.copy_(normal(part.weight, 0.6, 0.6))
            part.bias.copy_(normal(part.bias, 0, 0.2))
        elif isinstance(part, (nn.Conv2d, nn.Linear)) and part.bias is not None:
            part.bias.copy_(normal(part.bias, 0, 0.1))
    return model.requires_grad_(False)


def vgg_like() -> Any:
    """Convolutions, each with a batch-norm behind it, pools and two linear layers."""
    return enlivened(
        seeded(
            lambda: nn.Sequential(
                nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
                nn.Conv2d(6, 8, 3, padding=1, groups=2), nn.BatchNorm2d(8), nn.ReLU(),
                nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                nn.Linear(32, 9), nn.ReLU(), nn.Linear(9, 5),
            )
        )
    )  # fmt: skip


def plain_net() -> Any:
    """Two convolutions, which are followed by no batch-norm, and a linear layer."""
    return enlivened(
        seeded(
            lambda: nn.Sequential(
                nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 5, 2), nn.ReLU(),
                nn.Flatten(), nn.Linear(20, 5),
            )
        )
    )  # fmt: skip


class ResNetLike(nn.Module):
    """A stem and two of torchvision's blocks, the second of which has another size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        shortcut = nn.Sequential(nn.Conv2d(6, 8, 1, 2, bias=False), nn.BatchNorm2d(8))
        self.layer1, self.layer2 = BasicBlock(6, 6), BasicBlock(6, 8, 2, shortcut)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        scores: Tensor = self.fc(self.avgpool(self.layer2(self.layer1(x))).flatten(1))
        return scores


def resnet_like() -> Any:
    return enlivened(seeded(ResNetLike))


SMALL: dict[str, tuple[Callable[[], Any], Any]] = {
    "vgg": (plain_net, None),
    "vgg with batch-norm": (vgg_like, "vgg"),
    "resnet": (resnet_like, "resnet"),
}
"""How a small network is made, and what zennit needs to change of it."""

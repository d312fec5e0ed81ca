"""Small networks for the tests of class activation maps, and what their layers hold."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import torchattr as ta


class Pooled(nn.Module):
    """Two convolutions, a mean over the positions and a linear head."""

    def __init__(self, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(6, 7, 3, stride=2, padding=1), activation())
        self.head = nn.Linear(7, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean((2, 3)))


class Deep(Pooled):
    """The same with a part behind the pool that is not linear, and a skip connection around."""

    def __init__(self) -> None:
        super().__init__(nn.GELU)
        self.side = nn.Conv2d(6, 7, 1, stride=2)
        self.norm = nn.BatchNorm2d(7)
        self.last = nn.Conv2d(7, 7, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        stem = self.stem(x)
        h = self.norm(self.body(stem)) + self.side(stem)
        return self.head(torch.relu(self.last(h)).amax((2, 3)))


def seeded(cls: Any, *args: Any) -> nn.Module:
    """Return a network in double precision with statistics of its own."""
    torch.manual_seed(3)
    net = cls(*args).eval().double()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-0.5, 0.5)
            part.running_var.uniform_(0.5, 1.5)
    return net


def images(n: int = 2, height: int = 8, width: int = 10) -> Tensor:
    torch.manual_seed(7)
    return torch.rand(n, 3, height, width, dtype=torch.float64)


def layer_pair(net: nn.Module, layer: nn.Module, x: Tensor, target: Any) -> tuple[Tensor, Tensor]:
    """Return a layer's activations and the gradients of scores, by PyTorch's own means."""
    kept: list[Tensor] = []

    def keep(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        kept.append(output * 1)
        return kept[-1]

    handle = layer.register_forward_hook(keep)
    scores = net(x.clone().requires_grad_())
    handle.remove()
    score = target(scores) if callable(target) else scores[:, target]
    (gradient,) = torch.autograd.grad(score.sum(), kept[0])
    return kept[0].detach(), gradient


def made(name: str, net: Any, layer: Any = None, **options: Any) -> Any:
    return ta.methods.find_method(name)(net, layer, **options)

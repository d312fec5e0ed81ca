"""CAM: the weights of the head, or a refusal."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from cam_networks import Deep, Pooled, images, seeded
from helpers import refused
from torch import Tensor, nn

import torchattr as ta


def test_the_weights_are_those_of_the_head() -> None:
    net, x = seeded(Pooled), images()
    values = ta.LayerActivation(net, "body").attribute(x)
    head = net.get_submodule("head")
    for target in (0, 4):
        expected = torch.einsum("c,nchw->nhw", head.weight[target], values)[:, None]
        found = ta.CAM(net, "body").attribute(x, target=target)
        torch.testing.assert_close(found, expected.detach())
        bias = head.bias[target]
        torch.testing.assert_close(found.mean((1, 2, 3)), (net(x)[:, target] - bias).detach())
    each = ta.CAM(net, "body").attribute(x, target=ta.TopK(2))
    best = net(x).topk(2).indices
    torch.testing.assert_close(each[:, 1], ta.CAM(net, "body").attribute(x, target=best[:, 1]))


@pytest.mark.parametrize(("layer", "why"), [("norm", "positions"), ("stem", "positions")])
def test_other_networks_are_refused(layer: str, why: str) -> None:
    with refused(ta.LayerError, "global average pool", why, "GradCAM"):
        ta.CAM(seeded(Deep), layer).attribute(images(), target=1)


def test_a_head_that_is_not_linear_is_refused() -> None:
    class Hidden(Pooled):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(self.stem(x)).mean((2, 3))).tanh()

    with refused(ta.LayerError, "no linear head"):
        ta.CAM(seeded(Hidden), "body").attribute(images(), target=1)
    with refused(ta.LayerError, "no linear head"):
        ta.CAM(seeded(Pooled), "body").attribute(images(), target=lambda s: s[:, 0] - s[:, 1])


def test_heads_without_modules_and_of_convolutions() -> None:
    class Functional(Pooled):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(5, 7, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(self.body(self.stem(x)), self.weight).mean((2, 3))

    net, x = seeded(Functional), images()
    values = ta.LayerActivation(net, "body").attribute(x)
    expected = torch.einsum("c,nchw->nhw", net.get_parameter("weight")[2, :, 0, 0], values)
    found = ta.CAM(net, "body").attribute(x, target=2)
    torch.testing.assert_close(found, expected[:, None].detach())

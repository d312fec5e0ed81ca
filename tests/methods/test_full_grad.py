"""FullGrad: every bias' share, by the gradients that PyTorch gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from cam_networks import Deep, Pooled, images, layer_pair, seeded
from helpers import refused
from torch import Tensor, nn

import torchattr as ta


def bias_of(module: Any) -> Tensor:
    if isinstance(module, nn.BatchNorm2d):
        scale = module.weight / (module.running_var + module.eps).sqrt()
        return module.bias - module.running_mean * scale
    return module.bias


def psi(grid: Tensor, rescale: str) -> Tensor:
    total = torch.zeros(len(grid), 1, 8, 10, dtype=grid.dtype)
    for number, example in enumerate(grid.abs()):
        for channel in example:
            of = channel if rescale == "channel" else example
            low, high = of.min(), of.max()
            scaled = (channel - low) / (high - low) if high > low else channel * 0
            total[number] += F.interpolate(
                scaled[None, None], (8, 10), mode="bilinear", align_corners=False
            )[0]
    return total


@pytest.mark.parametrize("rescale", ["channel", "layer"])
@pytest.mark.parametrize("network", [Pooled, Deep])
def test_it_is_the_sum_over_input_and_biases(network: Any, rescale: Any) -> None:
    net, x = seeded(network), images()
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(leaf)[:, 1].sum(), leaf)
    expected = psi(x * slope, rescale)
    for part in net.modules():
        if isinstance(part, (nn.Conv2d, nn.BatchNorm2d)):
            _, gradient = layer_pair(net, part, x, 1)
            expected += psi((bias_of(part).view(1, -1, 1, 1) * gradient).detach(), rescale)
    found = ta.FullGrad(net, rescale=rescale).attribute(x, target=1)
    torch.testing.assert_close(found, expected)


def test_without_psi_the_terms_sum_to_the_score() -> None:
    """What the map is made of, for a network of ReLUs and a linear head."""
    net, x = seeded(Pooled), images()
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(leaf)[:, 1].sum(), leaf)
    total = (x * slope).sum((1, 2, 3)) + net.get_submodule("head").bias[1]
    for part in net.modules():
        if isinstance(part, (nn.Conv2d, nn.BatchNorm2d)):
            _, gradient = layer_pair(net, part, x, 1)
            total += (bias_of(part).view(1, -1, 1, 1) * gradient).sum((1, 2, 3))
    torch.testing.assert_close(total, net(x)[:, 1])


def test_an_auxiliary_head_does_not_matter() -> None:
    class Auxiliary(Pooled):
        def __init__(self) -> None:
            super().__init__()
            self.other, self.unused = nn.Conv2d(6, 2, 1), nn.Conv2d(6, 2, 1)

        def forward(self, x: Tensor) -> Any:
            self.last = self.other(self.stem(x)).detach()
            return super().forward(x)

    net, plain, x = seeded(Auxiliary), seeded(Pooled), images()
    plain.load_state_dict(net.state_dict(), strict=False)
    found = ta.FullGrad(net).attribute(x, target=1)
    torch.testing.assert_close(found, ta.FullGrad(plain).attribute(x, target=1))


def test_targets_side_by_side_and_explain() -> None:
    net, x = seeded(Deep), images()
    both = ta.FullGrad(net).attribute(x, target=ta.Classes(1, 3))
    torch.testing.assert_close(both[:, 1], ta.FullGrad(net).attribute(x, target=3))
    explained = ta.explain(net, x, ["full_grad", "saliency"], targets=3)["full_grad"]
    torch.testing.assert_close(explained, both[:, 1:])


def test_what_cannot_be_is_said() -> None:
    bare = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.Flatten()).double()
    with refused(ta.LayerError, "no module with a bias", "InputXGradient"):
        ta.FullGrad(bare).attribute(images(), target=1)
    with refused(ta.ShapeError, "one input", "additional_forward_args"):
        ta.FullGrad(nn.Linear(3, 2)).attribute(torch.rand(2, 3), target=1)
    with refused(ta.InputError, "rescale", "'layer'"):
        ta.FullGrad(bare, rescale="all")  # type: ignore[arg-type]

"""The output of an operation may be written over, even where PyTorch returns a view."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, seeded
from torch import Tensor, nn

import torchattr as ta

LINEAR = seeded(lambda: nn.Linear(4, 3)).double()
X = noise(2, 5, 4)

Forward = Callable[[Tensor], Tensor]


def added(x: Tensor) -> Tensor:
    h = LINEAR(x)
    h += 1
    return h


def set_to_zero(x: Tensor) -> Tensor:
    h = LINEAR(x)
    h[:, 0] = 0
    return h


def filled(x: Tensor) -> Tensor:
    return LINEAR(x).masked_fill_(torch.arange(5)[None, :, None] > 3, 0.0)


FORWARDS: dict[str, Forward] = {
    "add": added,
    "setitem": set_to_zero,
    "masked_fill": filled,
    "relu": lambda x: torch.relu_(LINEAR(x)),
    "mul": lambda x: LINEAR(x).mul_(2.0),
    "avg_pool1d": lambda x: F.avg_pool1d(x, 2).add_(1),
    "adaptive_avg_pool1d": lambda x: F.adaptive_avg_pool1d(x, 2).mul_(3),
    "max_pool1d": lambda x: F.max_pool1d(x, 2).add_(1),
}


@pytest.mark.parametrize("name", FORWARDS)
def test_the_gradient_is_that_of_autograd(name: str) -> None:
    def forward(x: Tensor) -> Tensor:
        return FORWARDS[name](x).mean(1)

    leaf = X.clone().requires_grad_()
    (expected,) = torch.autograd.grad(forward(leaf.clone())[:, 1].sum(), leaf)
    assert_same(ta.Saliency(forward).attribute(X, target=1, abs=False), expected)


def test_rules_hold_behind_a_view() -> None:
    layers = (nn.Linear(4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(15, 3))
    model = seeded(lambda: nn.Sequential(*layers)).double()
    model[1].inplace = False
    expected = ta.GuidedBackprop(model).attribute(X, target=1)
    model[1].inplace = True
    assert_same(ta.GuidedBackprop(model).attribute(X, target=1), expected)

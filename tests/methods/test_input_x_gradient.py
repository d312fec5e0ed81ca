"""Input times gradient, against plain autograd and its sum."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_same, noise, seeded
from rectified import X, by_autograd, network
from torch import nn

import torchattr as ta


@pytest.mark.parametrize("target", range(4))
def test_is_the_input_times_the_gradient(target: int) -> None:
    model = network()
    found = ta.InputXGradient(model).attribute(X, target)
    assert_same(found, X * by_autograd(model, target), 1e-12)


def test_sums_to_the_score_of_a_model_without_biases() -> None:
    model = seeded(
        lambda: nn.Sequential(
            nn.Linear(5, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)
        ).double()
    )
    x = noise(4, 5)
    found = ta.InputXGradient(model).attribute(x, 2)
    torch.testing.assert_close(found.sum(1), model(x)[:, 2].detach())

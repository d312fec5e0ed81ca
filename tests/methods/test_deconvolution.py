"""The deconvnet, against plain autograd with a handwritten ReLU."""

from __future__ import annotations

import pytest
from helpers import assert_same, noise
from rectified import X, by_autograd, network
from torch import nn

import torchattr as ta


@pytest.mark.parametrize("target", range(4))
def test_rectifies_the_signal_whatever_the_forward_was(target: int) -> None:
    model = network()
    found = ta.Deconvolution(model).attribute(X, target)
    assert_same(found, by_autograd(model, target, "deconvolution"), 1e-12)


def test_does_not_depend_on_the_input_without_max_pools() -> None:
    """Only their switches depend on the input."""
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).double()
    found = [ta.Deconvolution(model).attribute(noise(2, 6, seed=seed), 1) for seed in (1, 2)]
    assert_same(found[0], found[1])

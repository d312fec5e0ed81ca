"""Pools whose windows have nothing to win."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import refused
from torch import Tensor

import torchattr as ta
from torchattr.errors import ModelError

EMPTY = [
    (F.max_pool1d, (2, 3, 1), (2, 2, 1, 2, False)),
    (F.max_pool2d, (2, 3, 1, 1), (2, 1, 1, 2, False)),
    (F.max_pool2d, (1, 17, 25, 1), ((1, 2), (3, 4), (0, 1), (1, 2), True)),
]
FULL = [
    (F.max_pool1d, (1, 2, 5), (3, 2, 1, 2, True)),
    (F.max_pool2d, (1, 2, 7, 6), (3, 2, 1, 2, False)),
    (F.max_pool3d, (1, 2, 5, 6, 7), (2, 2, 1, 2, True)),
]


@pytest.mark.parametrize("return_indices", [False, True])
@pytest.mark.parametrize(("pool", "shape", "settings"), EMPTY)
def test_windows_in_the_padding_are_refused(
    pool: Any, shape: tuple[int, ...], settings: tuple[Any, ...], return_indices: bool
) -> None:
    def forward(x: Tensor) -> Tensor:
        found = pool(x, *settings, return_indices=return_indices)
        return (found[0] if return_indices else found).flatten(1)

    with refused(ModelError, "lie in the padding as a whole", "dilation"):
        ta.Saliency(forward).attribute(torch.randn(shape).double(), target=0)


@pytest.mark.parametrize(("pool", "shape", "settings"), FULL)
def test_dilated_windows_that_reach_the_input_are_right(
    pool: Any, shape: tuple[int, ...], settings: tuple[Any, ...]
) -> None:
    x = torch.randn(shape).double()
    weight = torch.randn(pool(x, *settings).shape).double()
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad((pool(leaf, *settings) * weight).sum(), leaf)
    found = ta.Saliency(lambda x: (pool(x, *settings) * weight).flatten(1).sum(1)).attribute(
        x, abs=False
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)

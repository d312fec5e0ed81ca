"""LeGrad against NumPy: each block's own score, by one backward for each of an eager model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import assert_same, refused
from methods.attending import IMAGES, Array, Block, as_map, attending, respelled
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import LayerError, TargetError


def by_blocks(model: Any, target: int, blocks: range = range(3)) -> Array:
    """The mean over blocks, heads and queries of positive gradients, `(N, tokens)`."""
    model = respelled(model, "explicit")
    matrices: list[Tensor] = []
    tokens: list[Tensor] = []
    for block in model.blocks:
        block.attention.matrix.register_forward_hook(lambda *call: matrices.append(call[2]))
        block.register_forward_hook(lambda *call: tokens.append(call[2]))
    with torch.enable_grad():
        model(IMAGES.clone().requires_grad_())
        found = []
        for number in blocks:
            score = model.head(model.norm(tokens[number].mean(1)))[:, target].sum()
            found += torch.autograd.grad(score, matrices[number], retain_graph=True)
    arrays = [np.maximum(one.numpy(), 0).mean((1, 2)) for one in found]
    mean: Array = np.mean(arrays, axis=0)
    return mean


@pytest.mark.parametrize("target", [0, 2])
@pytest.mark.parametrize("pool", ["class", "mean"])
def test_positive_gradients_of_the_scores_of_blocks(target: int, pool: str) -> None:
    model = attending(pool=pool)
    expected = as_map(by_blocks(model, target))
    found = ta.LeGrad(model).attribute(IMAGES, target, rescaled=False)
    assert_same(found, expected, 1e-10)
    low, high = expected.amin((1, 2, 3), True), expected.amax((1, 2, 3), True)
    rescaled = ta.LeGrad(model).attribute(IMAGES, target)
    assert_same(rescaled, (expected - low) / (high - low), 1e-10)


@pytest.mark.parametrize("layers", [["blocks.1", "blocks.2"], ["blocks.[12]*"]])
def test_chosen_blocks_only(layers: Any) -> None:
    """The rest of the model begins behind the last of the chosen blocks."""
    model = attending()
    expected = as_map(by_blocks(model, 1, range(1, 3)))
    found = ta.LeGrad(model, layers).attribute(IMAGES, 1, rescaled=False)
    assert_same(found, expected, 1e-10)
    every = ta.LeGrad(model, Block).attribute(IMAGES, 1)
    assert_same(every, ta.LeGrad(model).attribute(IMAGES, 1))


def test_targets_of_all_kinds() -> None:
    model = attending()
    predicted = model(IMAGES).argmax(1)
    expected = ta.LeGrad(model).attribute(IMAGES, predicted)
    assert_same(ta.LeGrad(model).attribute(IMAGES), expected)
    assert_same(ta.LeGrad(model).attribute(IMAGES, lambda scores: scores.amax(1)), expected, 0.9)
    several = ta.LeGrad(model).attribute(IMAGES, ta.Classes(0, 2))
    assert several.shape == (2, 2, 1, 2, 3)
    assert_same(several[:, 1], ta.LeGrad(model).attribute(IMAGES, 2))
    with refused(TargetError, "LeGrad", "Neuron"):
        ta.LeGrad(model).attribute(IMAGES, ta.Neuron("head", 0))


def test_a_map_without_any_difference_is_zero() -> None:
    model = attending()
    with torch.no_grad():
        model.head.weight.zero_()
    assert not ta.LeGrad(model).attribute(IMAGES, 1).any()


class Reads(nn.Module):
    """Scores from the tokens of a middle block, too, or without rows of examples."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.inner = kind, attending()

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.inner(x)
        return scores.mean(0, keepdim=True).expand(2, -1) if self.kind == "batch" else scores


def test_a_rest_that_does_not_take_all_blocks_is_refused() -> None:
    with refused(LayerError, "the rest of the model gives", "layers="):
        ta.LeGrad(Reads("batch").eval()).attribute(IMAGES, 1)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("kind", ["attention", "attention in a list"])
def test_a_part_of_a_block_is_refused(kind: str, count: int) -> None:
    layers = "blocks.2.attention" if kind == "attention" else ["blocks.0", "blocks.1.attention"]
    with refused(LayerError, "the rest of the model", "whole ones", "layers="):
        ta.LeGrad(attending(), layers).attribute(IMAGES[:count], 1)


def test_a_single_block_must_be_named() -> None:
    model = attending()
    model.blocks = model.blocks[:1]
    with refused(LayerError, "which modules are the blocks", "layers="):
        ta.LeGrad(model).attribute(IMAGES, 1)
    expected = as_map(by_blocks(model, 1, range(1)))
    named = ta.LeGrad(model, "blocks.0").attribute(IMAGES, 1, rescaled=False)
    assert_same(named, expected, 1e-10)

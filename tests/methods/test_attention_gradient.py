"""Attention times its gradient against NumPy, from an eager model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import assert_same, noise, refused
from methods.attending import (
    IMAGES,
    SPELLINGS,
    Array,
    as_map,
    attending,
    eager,
    respelled,
)
from relevance_oracles import attention as oracle
from relevance_oracles.tiny_vit import spelled, tiny_vit
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import torchattr as ta
from torchattr.errors import InputError, LayerError


def composed(matrices: list[Array], gradients: list[Array]) -> Array:
    """`R ← R + mean (dA · A)⁺ R`, written out for each image."""
    found = []
    for image in range(len(matrices[0])):
        r = np.eye(matrices[0].shape[-1])
        for matrix, gradient in zip(matrices, gradients, strict=True):
            r = r + np.maximum(matrix[image] * gradient[image], 0).mean(0) @ r
        found.append(r)
    return np.stack(found)


@pytest.mark.parametrize("target", [0, 1, 3])
def test_row_of_the_class_token(target: int) -> None:
    model = attending()
    expected = as_map(composed(*eager(model, target))[:, 0])
    assert_same(ta.AttentionGradient(model).attribute(IMAGES, target), expected, 1e-10)


def test_averaged_tokens_are_shown_without_their_own_share() -> None:
    model = attending(pool="mean")
    r = composed(*eager(model)) - np.eye(7)
    assert_same(ta.AttentionGradient(model).attribute(IMAGES, 1), as_map(r.mean(1)), 1e-10)


def test_chosen_layers_only() -> None:
    model = attending()
    matrices, gradients = eager(model)
    expected = as_map(composed(matrices[1:], gradients[1:])[:, 0])
    method = ta.AttentionGradient(model, ["blocks.1", "blocks.2"])
    assert_same(method.attribute(IMAGES, 1), expected, 1e-10)


# With the relevance of the matrices: CVPR 2021.

X = noise(3, 3, 8, 8)
BACKENDS = [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION]


def by_hand(model: Any, target: int) -> Tensor:
    _, gradients = oracle.attention_of(model, X, target)
    relevances = oracle.relevances_of_matrices(model, X, target, method="chefer")
    return torch.tensor(oracle.chefer_lrp(relevances, gradients)).view(3, 1, 2, 2)


def transformer_attribution(model: Any, **options: Any) -> Any:
    return ta.AttentionGradient(model, weights="relevance", **options)


@pytest.mark.parametrize("target", [0, 1, 3])
@pytest.mark.parametrize("spelling", ["explicit", "fused", "module"])
def test_gradient_times_relevance_is_that_of_explicit_shares(spelling: Any, target: int) -> None:
    model = tiny_vit(seed=target)
    found = transformer_attribution(spelled(model, spelling)).attribute(X, target)
    assert_same(found, by_hand(model, target), 1e-10)


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda one: one.name)
def test_relevance_does_not_depend_on_the_kernel_of_attention(backend: Any) -> None:
    model = tiny_vit()
    with sdpa_kernel(backend):
        found = transformer_attribution(spelled(model, "fused")).attribute(X, 1)
    assert_same(found, by_hand(model, 1), 1e-10)


BOOLEAN = noise(7, 7, seed=4) > -1
BOOLEAN[:, 0] = True


OPTIONS: list[dict[str, Any]] = [
    {"mask": BOOLEAN},
    {"mask": noise(7, 7, seed=5), "pool": "mean"},
    {"causal": True, "pool": "mean"},
    {"scale": 0.9},
    {"key_heads": 1},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_relevance_in_all_spellings(options: Any) -> None:
    model = attending("explicit", **options)
    expected = transformer_attribution(model).attribute(IMAGES, 1)
    assert expected.any()
    for spelling in SPELLINGS:
        if "mask" in options or not spelling.startswith("module"):
            found = transformer_attribution(respelled(model, spelling)).attribute(IMAGES, 1)
            assert_same(found, expected, 1e-10)


def test_relevance_of_several_targets_is_that_of_each() -> None:
    method = transformer_attribution(attending())
    both = method.attribute(IMAGES, ta.Classes([3, 1]))
    for place, target in enumerate((3, 1)):
        assert_same(both[:, place], method.attribute(IMAGES, target), 1e-12)


def test_relevance_of_an_example_does_not_depend_on_the_batch() -> None:
    method = transformer_attribution(attending())
    single = torch.cat([method.attribute(one[None], 1) for one in IMAGES])
    assert_same(method.attribute(IMAGES, 1), single, 1e-10)


class SequenceFirst(nn.Module):
    """Tokens of the dimensions `(tokens, examples, channels)`."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 12, activation="gelu")
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).permute(2, 0, 1)
        y: Tensor = self.head(self.encoder(tokens).mean(0))
        return y


def test_examples_in_the_second_dimension_or_in_either() -> None:
    torch.manual_seed(0)
    method = transformer_attribution(SequenceFirst().double().eval(), queries="mean")
    single = torch.cat([method.attribute(one[None], 1) for one in X])
    assert_same(method.attribute(X, 1), single, 1e-10)
    with refused(LayerError, "either of the first two", "(4, 4, 8)", "one example at a time"):
        method.attribute(noise(4, 3, 8, 8), 1)


def test_a_score_of_zero_cannot_count_as_one() -> None:
    with refused(InputError, "weights='relevance'", "divides by the score", "another target"):
        transformer_attribution(attending()).attribute(IMAGES, lambda out: out[:, 0] * 0)


def test_unknown_weights_are_refused() -> None:
    with refused(InputError, "weights", "'lrp'", "relevance"):
        ta.AttentionGradient(attending(), weights="lrp")  # type: ignore[arg-type]
    shown = repr(transformer_attribution(attending()))
    assert "weights='relevance'" in shown

"""Attention times its gradient against NumPy, from an eager model."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same
from methods.attending import IMAGES, Array, as_map, attending, eager

import torchattr as ta


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

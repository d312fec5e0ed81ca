"""Attention rollout against NumPy, from an eager model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import assert_same, refused
from methods.attending import IMAGES, Array, as_map, attending, eager
from torch.nn.attention import SDPBackend, sdpa_kernel

import torchattr as ta
from torchattr.errors import InputError


def rolled_out(matrices: list[Array], fuse: Any, discarded: int = 0) -> Array:
    """The product of the normalised matrices, written out for each image."""
    found = []
    for image in range(len(matrices[0])):
        product = np.eye(matrices[0].shape[-1])
        for matrix in matrices:
            fused = fuse(matrix[image], axis=0)
            kept = np.sort(fused, axis=None)[discarded]
            mixed = np.where(fused >= kept, fused, 0) + np.eye(len(fused))
            product = mixed / mixed.sum(1, keepdims=True) @ product
        found.append(product)
    return np.stack(found)


@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
@pytest.mark.parametrize("start", [0, 2])
def test_product_of_all_layers(fusion: Any, start: int) -> None:
    model = attending()
    expected = as_map(rolled_out(eager(model)[0][start:], getattr(np, fusion))[:, 0])
    method = ta.AttentionRollout(model, head_fusion=fusion, start_layer=start)
    assert_same(method.attribute(IMAGES, 1), expected, 1e-10)


@pytest.mark.parametrize(("ratio", "discarded"), [(0.3, 14), (0.9, 44), (0.01, 0)])
def test_lowest_weights_are_discarded_in_each_image(ratio: float, discarded: int) -> None:
    model = attending()
    expected = as_map(rolled_out(eager(model)[0], np.mean, discarded)[:, 0])
    method = ta.AttentionRollout(model, discard_ratio=ratio)
    assert_same(method.attribute(IMAGES, 1), expected, 1e-10)


def test_mean_over_queries() -> None:
    model = attending()
    expected = as_map(rolled_out(eager(model)[0], np.mean).mean(1))
    method = ta.AttentionRollout(model, queries="mean")
    assert_same(method.attribute(IMAGES, 1), expected, 1e-10)


def test_wrong_options_are_refused() -> None:
    model = attending()
    with refused(InputError, "head_fusion", "'median'", "mean"):
        ta.AttentionRollout(model, head_fusion="median")  # type: ignore[arg-type]
    with refused(InputError, "discard_ratio", "1.0", "below 1"):
        ta.AttentionRollout(model, discard_ratio=1.0)
    with refused(InputError, "start_layer", "-1"):
        ta.AttentionRollout(model, start_layer=-1)
    with refused(InputError, "start_layer", "3 layers"):
        ta.AttentionRollout(model, start_layer=3).attribute(IMAGES, 1)


@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
@pytest.mark.parametrize(
    "method",
    [ta.AttentionRollout, ta.RawAttention, ta.AttentionGradient, ta.LeGrad, ta.AttnLRP],
)
def test_nothing_depends_on_the_kernel_of_attention(method: Any, backend: Any) -> None:
    found = {}
    for spelling, kernel in (("explicit", SDPBackend.MATH), ("fused", backend)):
        with sdpa_kernel(kernel):
            found[spelling] = method(attending(spelling)).attribute(IMAGES, 1)
    assert found["explicit"].any()
    assert_same(found["fused"], found["explicit"], 1e-10)

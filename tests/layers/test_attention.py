"""Attention matrices and their gradients, from what a call had, against PyTorch's own results."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from torchattr.errors import LayerError
from torchattr.layers.attention import (
    ExplicitAttention,
    FusedAttention,
    KeptTensor,
    Tokens,
    UnreadAttention,
)

TOKENS = Tokens("unknown", 0, False, True)
Q, K, V = noise(2, 4, 5, 8), noise(2, 4, 5, 8, seed=2), noise(2, 4, 5, 6, seed=3)
BOOLEAN = noise(5, 5, seed=4) > -0.5
ADDED = noise(2, 1, 5, 5, seed=5)
OPTIONS: list[dict[str, Any]] = [
    {},
    {"scale": 0.7},
    {"is_causal": True},
    {"attn_mask": BOOLEAN},
    {"attn_mask": ADDED, "scale": 0.2},
    {"attn_mask": BOOLEAN.expand(2, 4, 5, 5)},
]


def kept(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> FusedAttention:
    mask = options.get("attn_mask")
    given = {**options, "attn_mask": None if mask is None else KeptTensor(mask)}
    return FusedAttention(TOKENS, KeptTensor(q), KeptTensor(k), KeptTensor(v), given)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_matrix_times_values_is_the_output(options: Any) -> None:
    expected = F.scaled_dot_product_attention(Q, K, V, **options)
    assert_same(kept(Q, K, V, **options).matrix() @ V, expected, 1e-13)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_matrix_is_the_output_for_the_identity(options: Any) -> None:
    """Values that are the identity make PyTorch return its own matrix."""
    values = torch.eye(5, dtype=Q.dtype).expand(2, 4, 5, 5)
    expected = F.scaled_dot_product_attention(Q, K, values, **options)
    assert_same(kept(Q, K, V, **options).matrix(), expected, 1e-13)


@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_matrix_is_that_of_each_backend(backend: SDPBackend, dtype: torch.dtype) -> None:
    q, k, v = (one.to(dtype) for one in (Q, K, K))
    with sdpa_kernel(backend):
        expected = F.scaled_dot_product_attention(q, k, v)
    matrix = kept(q, k, v).matrix()
    assert matrix.dtype is torch.float32
    bound = 1e-5 if dtype is torch.float32 else 2e-2
    assert_same((matrix @ v.float()).to(dtype), expected, bound)


def test_keys_are_repeated_for_the_heads_that_share_them() -> None:
    k, v = K[:, :2], V[:, :2]
    attention = kept(Q, k, v, enable_gqa=True)
    expected = F.scaled_dot_product_attention(Q, k, v, enable_gqa=True)
    assert_same(attention.matrix() @ v.repeat_interleave(2, 1), expected, 1e-13)
    gradient = torch.ones_like(expected)
    assert_same(
        attention.matrix_gradient(gradient), gradient @ v.repeat_interleave(2, 1).transpose(-2, -1)
    )


def test_a_query_without_keys_attends_to_nothing() -> None:
    mask = BOOLEAN.clone()
    mask[2] = False
    matrix = kept(Q, K, V, attn_mask=mask).matrix()
    assert not matrix[:, :, 2].any()
    expected = F.scaled_dot_product_attention(Q, K, V, attn_mask=mask)
    assert_same(matrix @ V, expected, 1e-13)


def test_gradient_is_that_of_the_product() -> None:
    leaf = Q.new_zeros(2, 4, 5, 5).requires_grad_()
    gradient = noise(2, 4, 5, 6, seed=6)
    (expected,) = torch.autograd.grad(leaf @ V, leaf, gradient)
    assert_same(kept(Q, K, V).matrix_gradient(gradient), expected)
    weights = KeptTensor(leaf.detach())
    explicit = ExplicitAttention(TOKENS, weights, KeptTensor(V))
    assert_same(explicit.matrix_gradient(gradient), expected)
    assert explicit.queries == kept(Q, K, V).queries == 5


def test_gradient_of_an_equation_is_that_of_the_equation() -> None:
    values, equation = V.transpose(1, 2), "bhqk,bkhd->bqhd"
    leaf = Q.new_zeros(2, 4, 5, 5).requires_grad_()
    gradient = noise(2, 5, 4, 6, seed=6)
    product = torch.einsum(equation, leaf, values)
    (expected,) = torch.autograd.grad(product, leaf, gradient)
    explicit = ExplicitAttention(TOKENS, KeptTensor(leaf), KeptTensor(values), equation)
    assert_same(explicit.matrix_gradient(gradient), expected, 1e-14)


def test_what_is_written_over_is_refused() -> None:
    q = Q.clone()
    attention = kept(q, K, V)
    q.mul_(2)
    with refused(LayerError, "writes over the queries", "Saliency"):
        attention.matrix()


def test_tensors_of_inference_mode_are_read() -> None:
    with torch.inference_mode():
        q = Q.clone()
    assert_same(kept(q, K, V).matrix(), kept(Q, K, V).matrix())


def test_nothing_is_copied() -> None:
    one = KeptTensor(Q)
    assert one.read().data_ptr() == Q.data_ptr()
    assert one.shape == Q.shape
    assert copy.copy(one).read().data_ptr() == Q.data_ptr()


def test_unread_attention_has_no_matrix() -> None:
    unread = UnreadAttention(TOKENS, 5)
    assert unread.queries == 5
    with refused(LayerError, "changes the weights"):
        unread.matrix()
    with refused(LayerError, "changes the weights"):
        unread.matrix_gradient(V)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    "backend",
    [
        SDPBackend.MATH,
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.CUDNN_ATTENTION,
    ],
    ids=str,
)
def test_matrix_is_that_of_each_backend_of_a_gpu(backend: SDPBackend) -> None:
    q, k = (noise(2, 4, 64, 64, seed=n, dtype=torch.bfloat16).cuda() for n in (1, 2))
    with sdpa_kernel(backend):
        expected = F.scaled_dot_product_attention(q, k, k, is_causal=True)
    found = kept(q, k, k, is_causal=True).matrix() @ k.float()
    assert_same(found.to(torch.bfloat16), expected, 2e-2)

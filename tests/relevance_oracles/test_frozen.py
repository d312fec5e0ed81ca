"""The hand-propagated transformer against autograd, its own sums, and cases by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise
from torch import Tensor, nn

from relevance_oracles.frozen import Method, Walk, _norm, _product, _softmax, forward, relevances
from relevance_oracles.tiny_vit import TinyViT, tiny_vit

IMAGE = noise(3, 8, 8)
GAMMAS = (0.0, 0.05, 0.25)
METHODS: tuple[Method, ...] = ("attn_lrp", "cp_lrp", "chefer")


def test_forward_is_the_models() -> None:
    model = tiny_vit()
    assert_same(forward(model, IMAGE)["scores"], model(IMAGE[None])[0], 1e-13)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("method", METHODS)
def test_inputs_and_constants_get_all_relevance(method: Method, gamma: float) -> None:
    found = relevances(tiny_vit(), IMAGE, 2, method, gamma)
    total = found.input.sum().item() + sum(found.constants.values())
    assert total == pytest.approx(found.started, rel=1e-12)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_input_gets_the_score_where_nothing_is_added(gamma: float) -> None:
    """Conservative propagation keeps the sum, as its paper says."""
    model = tiny_vit(constants=False)
    found = relevances(model, IMAGE, 2, "cp_lrp", gamma)
    assert found.input.sum().item() == pytest.approx(model(IMAGE[None])[0, 2].item(), rel=1e-11)


def test_epsilon_keeps_little_where_it_is_small() -> None:
    model = tiny_vit(constants=False)
    found = relevances(model, IMAGE, 2, "cp_lrp", epsilon=1e-13)
    assert found.input.sum().item() == pytest.approx(found.started, rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_factors_of_a_product_get_half_each(method: Method) -> None:
    at = relevances(tiny_vit(), IMAGE, 2, method).at
    mixed, matrix, values = (
        at[f"block1.attention.{part}"].sum().item() for part in ("mixed", "matrix", "values")
    )
    share = 0.0 if method == "cp_lrp" else 0.5
    assert matrix == pytest.approx(share * mixed, abs=1e-13)
    assert values == pytest.approx((1 - share) * mixed, abs=1e-13)


# Against autograd: a forward whose gradient times the input is the relevance without gamma.


def partly(x: Tensor, share: float) -> Tensor:
    """Return `x`, which gets a share of its gradient."""
    return share * x + (1 - share) * x.detach()


def frozen_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    std = (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt().detach()
    return centred / std * norm.weight + norm.bias


def frozen_attention(attention: Any, x: Tensor, shares: tuple[float, float]) -> Tensor:
    inner = attention.inner
    q, k, v = (
        part.unflatten(-1, (attention.heads, -1)).transpose(1, 2)
        for part in F.linear(x, inner.in_proj_weight, inner.in_proj_bias).chunk(3, -1)
    )
    y = F.scaled_dot_product_attention(
        partly(q, shares[0]), partly(k, shares[0]), partly(v, shares[1])
    )
    return F.linear(y.transpose(1, 2).flatten(2), inner.out_proj.weight, inner.out_proj.bias)


def frozen_gelu(x: Tensor) -> Tensor:
    return x * (F.gelu(x) / x).detach()


def frozen_scores(model: TinyViT, x: Tensor, shares: tuple[float, float]) -> Tensor:
    tokens = model.patches(x).flatten(2).mT
    tokens = torch.cat([model.class_token.expand(len(x), -1, -1), tokens], 1) + model.position
    for block in model.blocks:
        y = frozen_norm(block.norm1, tokens)
        tokens = tokens + frozen_attention(block.attention, y, shares)
        hidden = frozen_gelu(block.mlp[0](frozen_norm(block.norm2, tokens)))
        tokens = tokens + block.mlp[2](hidden)
    scores: Tensor = model.head(frozen_norm(model.norm, tokens)[:, 0])
    return scores


SHARES: dict[Method, tuple[float, float]] = {"attn_lrp": (0.25, 0.5), "cp_lrp": (0.0, 1.0)}


@pytest.mark.parametrize("method", SHARES)
@pytest.mark.parametrize("seed", range(3))
def test_relevance_is_input_times_gradient_of_a_partly_frozen_forward(
    method: Method, seed: int
) -> None:
    model = tiny_vit(seed=seed)
    leaf = IMAGE[None].clone().requires_grad_()
    scores = frozen_scores(model, leaf, SHARES[method])
    assert_same(scores.detach(), model(leaf.detach()), 1e-13)
    (gradient,) = torch.autograd.grad(scores[0, 1], leaf)
    assert_same(relevances(model, IMAGE, 1, method).input, (gradient * leaf.detach())[0], 1e-11)


def test_gamma_in_attention_can_be_left_out() -> None:
    model = tiny_vit()
    everywhere = relevances(model, IMAGE, 1, gamma=0.25)
    outside = relevances(model, IMAGE, 1, gamma=0.25, gamma_in_attention=False)
    assert not torch.allclose(everywhere.input, outside.input)
    assert torch.equal(everywhere.at["block1.attention"], outside.at["block1.attention"])
    mixed = "block1.attention.mixed"
    assert not torch.allclose(everywhere.at[mixed], outside.at[mixed])


# By hand.


def walk(values: dict[str, Tensor] | None = None, method: Method = "attn_lrp") -> Walk:
    return Walk(tiny_vit(), method, 0.0, True, 0.0, values or {})


def row(*values: float) -> Tensor:
    return torch.tensor([[values]], dtype=torch.float64)


def test_product_by_hand() -> None:
    """One query and two keys: `0.25 * 8 + 0.75 * 4 = 5`, of whose relevance 10 half is shared."""
    of_matrix, of_values = _product(walk(), row(0.25, 0.75), row(8, 4).mT, row(10))
    assert_same(of_matrix, row(2, 3), 1e-15)
    assert_same(of_values, row(2, 3).mT, 1e-15)


def test_softmax_by_hand() -> None:
    """Logits 0 and log 3, whose softmax is 1/4 and 3/4: `log 3 * (5 - 3/4 * 7)`."""
    log3 = torch.log(torch.tensor(3.0, dtype=torch.float64)).item()
    found = _softmax(walk(), row(0, log3), row(0.25, 0.75), row(2, 5))
    assert_same(found, row(0, log3 * (5 - 0.75 * 7)), 1e-14)


def test_norm_by_hand() -> None:
    """Of 5 and 1, with the mean 3, `y = weight * (1, -1) + bias`.

    With weights 2 and 3 and biases 2 and 0, `y` is (4, -3): relevance 8 and 6 leave 4 and 6 behind
    the bias. The centred 2 is `5/2 - 1/2`, of whose 4 the first input gets `5/4 * 4`, the second
    `-1/4 * 4`; the centred -2 is `-5/2 + 1/2`, of whose 6 they get `5/4 * 6` and `-1/4 * 6`.
    """
    norm = nn.LayerNorm(2, eps=0.0).double().requires_grad_(False)
    norm.weight.copy_(torch.tensor([2.0, 3.0]))
    norm.bias.copy_(torch.tensor([2.0, 0.0]))
    values = {"n.input": row(5, 1)[0], "n.normal": row(1, -1)[0], "n": norm(row(5, 1)[0])}
    found = walk(values)
    assert_same(_norm(found, "n", norm, row(8, 6)[0]), row(12.5, -2.5)[0], 1e-14)
    assert found.constants == pytest.approx({"n": 4.0})

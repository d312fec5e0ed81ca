"""Relevance of the tiny transformer, layer by layer, in relevance itself and by explicit shares.

* `attn_lrp`: AttnLRP (Achtibat et al. 2024). A product of two matrices gives half to each, the
  softmax has its own rule, a normalisation is the identity behind its mean.
* `cp_lrp`: conservative propagation (Ali et al. 2022). Attention matrices and standard deviations
  are constants. LibraGrad (Mehri et al. 2024) times the input is the same with `gamma=0`: every
  nonlinear part is replaced by one that is linear in its input, with its values frozen.
* `chefer`: the rules of Chefer et al., CVPR 2021: z+ in linear layers, additions that are
  normalised, half of a product to each factor, everything else is the identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from relevance_oracles.dense import bias_share, dense_of, quotient, relevance
from relevance_oracles.tiny_vit import TinyViT

Method = Literal["attn_lrp", "cp_lrp", "chefer"]


@dataclass
class Relevances:
    """What a propagation found: the input's relevance, every intermediate one, and the rest.

    `at` has one entry for each value, without a batch dimension: `tokens`, `block0.norm1`,
    `block0.attention.matrix` (heads, queries, keys), ...; `constants` the sum of what biases,
    class token, position embedding and (in AttnLRP) the constant terms of the softmax got, and
    `started` the relevance of the output.
    """

    input: Tensor
    at: dict[str, Tensor]
    constants: dict[str, float]
    started: float


@dataclass
class Walk:
    """A propagation under way: the rules in force, and what has been found."""

    model: TinyViT
    method: Method
    gamma: float
    gamma_in_attention: bool
    epsilon: float
    values: dict[str, Tensor]
    at: dict[str, Tensor] = field(default_factory=dict)
    constants: dict[str, float] = field(default_factory=dict)

    def rule(self, name: str) -> tuple[str, dict[str, Any]]:
        if self.method == "chefer":
            return "z_plus", {"zero_bias": True, "epsilon": self.epsilon}
        if self.gamma and (self.gamma_in_attention or "attention" not in name):
            return "gamma", {"gamma": self.gamma, "epsilon": self.epsilon}
        return "epsilon", {"epsilon": self.epsilon}


@torch.no_grad()
def relevances(
    model: TinyViT,
    x: Tensor,
    target: int,
    method: Method = "attn_lrp",
    gamma: float = 0.0,
    gamma_in_attention: bool = True,
    epsilon: float = 0.0,
) -> Relevances:
    """Return all relevances of one image `(C, H, W)`, in float64.

    They start with the score of the target; with one for `chefer`, as in its paper. `gamma` is that
    of all linear layers and the patch embedding (0: epsilon); with `gamma_in_attention=False`, the
    projections of the attention are left out, which hooks of modules cannot see.
    """
    values = forward(model, x)
    walk = Walk(model, method, gamma, gamma_in_attention, epsilon, values)
    start = torch.zeros_like(values["scores"])
    start[target] = 1.0 if method == "chefer" else values["scores"][target]
    walk.at["scores"] = start
    tokens = _head(walk, start)
    for index in reversed(range(len(model.blocks))):
        tokens = _block(walk, f"block{index}", model.blocks[index], tokens)
    image = _embedding(walk, tokens)
    return Relevances(image, walk.at, walk.constants, start.sum().item())


# Forward, one value at a time.


def forward(model: TinyViT, x: Tensor) -> dict[str, Tensor]:
    """Return every value of the forward of one image."""
    v = {"image": x.double()}
    v["patches"] = model.patches(v["image"][None])[0].flatten(1).T
    v["sequence"] = torch.cat([model.class_token[0], v["patches"]])
    tokens = v["tokens"] = v["sequence"] + model.position[0]
    for index, block in enumerate(model.blocks):
        tokens = _forward_block(v, f"block{index}", block, tokens)
    v["norm"] = _forward_norm(v, "norm", model.norm, tokens)
    v["scores"] = v["norm"][0] @ model.head.weight.T + model.head.bias
    return v


def _forward_norm(v: dict[str, Tensor], name: str, norm: Any, x: Tensor) -> Tensor:
    v[f"{name}.input"] = x
    v[f"{name}.centred"] = x - x.mean(-1, keepdim=True)
    variance = (v[f"{name}.centred"] ** 2).mean(-1, keepdim=True)
    v[f"{name}.normal"] = v[f"{name}.centred"] / torch.sqrt(variance + norm.eps)
    v[name] = v[f"{name}.normal"] * norm.weight + norm.bias
    return v[name]


def _forward_block(v: dict[str, Tensor], name: str, block: Any, x: Tensor) -> Tensor:
    v[f"{name}.input"] = x
    y = _forward_norm(v, f"{name}.norm1", block.norm1, x)
    v[f"{name}.attention"] = _forward_attention(v, f"{name}.attention", block.attention, y)
    v[f"{name}.middle"] = x + v[f"{name}.attention"]
    y = _forward_norm(v, f"{name}.norm2", block.norm2, v[f"{name}.middle"])
    v[f"{name}.mlp.hidden"] = y @ block.mlp[0].weight.T + block.mlp[0].bias
    v[f"{name}.mlp.active"] = F.gelu(v[f"{name}.mlp.hidden"])
    v[f"{name}.mlp"] = v[f"{name}.mlp.active"] @ block.mlp[2].weight.T + block.mlp[2].bias
    v[name] = v[f"{name}.middle"] + v[f"{name}.mlp"]
    return v[name]


PARTS = ("queries", "keys", "values")


def _forward_attention(v: dict[str, Tensor], name: str, attention: Any, x: Tensor) -> Tensor:
    v[f"{name}.input"] = x
    for part, (weight, bias) in _projections(attention).items():
        v[f"{name}.{part}"] = _heads(x @ weight.T + bias, attention.heads)
    q, k, values = (v[f"{name}.{part}"] for part in PARTS)
    v[f"{name}.logits"] = torch.einsum("hnd,hmd->hnm", q, k) / q.shape[-1] ** 0.5
    v[f"{name}.matrix"] = torch.softmax(v[f"{name}.logits"], dim=-1)
    v[f"{name}.mixed"] = torch.einsum("hnm,hmd->hnd", v[f"{name}.matrix"], values)
    out = attention.inner.out_proj
    return _joined(v[f"{name}.mixed"]) @ out.weight.T + out.bias


def _projections(attention: Any) -> dict[str, tuple[Tensor, Tensor]]:
    weights = attention.inner.in_proj_weight.chunk(3)
    pairs = zip(weights, attention.inner.in_proj_bias.chunk(3), strict=True)
    return dict(zip(PARTS, pairs, strict=True))


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.reshape(len(x), heads, -1).transpose(0, 1)


def _joined(x: Tensor) -> Tensor:
    return x.transpose(0, 1).reshape(x.shape[1], -1)


# Backward, one rule at a time.


def _linear(walk: Walk, name: str, weight: Tensor, bias: Tensor, x: Tensor, r: Tensor) -> Tensor:
    """Share out the relevance of a linear layer's outputs, token by token."""
    rule, params = walk.rule(name)
    z = x @ weight.T + bias
    rows = list(zip(x, z, r, strict=True))
    kept = [bias_share(rule, weight, bias, *row, **params).sum() for row in rows]
    walk.constants[name] = torch.stack(kept).sum().item()
    return torch.stack([relevance(rule, weight, bias, *row, **params) for row in rows])


def _add(walk: Walk, a: Tensor, b: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Share out the relevance of a sum in proportion to its terms."""
    unit = quotient(r, a + b, walk.epsilon)
    of_a, of_b = a * unit, b * unit
    return _normalised(of_a, of_b, r) if walk.method == "chefer" else (of_a, of_b)


def _normalised(a: Tensor, b: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Scale two shares so that they sum to the whole, each in proportion to its magnitude."""
    both = a.sum().abs() + b.sum().abs()
    of_a, of_b = (part * (part.sum().abs() / both * r.sum() / part.sum()) for part in (a, b))
    return of_a, of_b


def _product(walk: Walk, a: Tensor, b: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
    """Share out the relevance of `a @ b` of each head: half to each of the factors."""
    terms = torch.einsum("hnm,hmd->hnmd", a, b)
    shares = terms * quotient(r, terms.sum(2), walk.epsilon)[:, :, None]
    return shares.sum(3) / 2, shares.sum(1) / 2


def _weighted_sum(walk: Walk, a: Tensor, b: Tensor, r: Tensor) -> Tensor:
    """Share out the relevance of `a @ b`, where `a` is a constant."""
    terms = torch.einsum("hnm,hmd->hnmd", a, b)
    return (terms * quotient(r, terms.sum(2), walk.epsilon)[:, :, None]).sum(1)


def _softmax(walk: Walk, x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    """AttnLRP, proposition 3.1: `x_i (R_i - y_i sum_j R_j)`; the identity for `chefer`."""
    return r if walk.method == "chefer" else x * (r - y * r.sum(-1, keepdim=True))


def _norm(walk: Walk, name: str, norm: Any, r: Tensor) -> Tensor:
    """Share out by `weight * normal + bias`; the division is the identity; then by the mean."""
    if walk.method == "chefer":
        return r
    x, normal, y = (walk.values[key] for key in (f"{name}.input", f"{name}.normal", name))
    unit = quotient(r, y, walk.epsilon)
    walk.constants[name] = (norm.bias * unit).sum().item()
    size = x.shape[-1]
    centre = torch.eye(size, dtype=x.dtype) - 1 / size
    centred = norm.weight * normal * unit
    rows = zip(x, x @ centre.T, centred, strict=True)
    none = torch.zeros(size, dtype=x.dtype)
    return torch.stack(
        [relevance("epsilon", centre, none, *row, epsilon=walk.epsilon) for row in rows]
    )


def _head(walk: Walk, r: Tensor) -> Tensor:
    v, head = walk.values, walk.model.head
    walk.at["norm"] = torch.zeros_like(v["norm"])
    walk.at["norm"][:1] = _linear(walk, "head", head.weight, head.bias, v["norm"][:1], r[None])
    return _norm(walk, "norm", walk.model.norm, walk.at["norm"])


def _block(walk: Walk, name: str, block: Any, r: Tensor) -> Tensor:
    v, at = walk.values, walk.at
    at[name] = r
    skipped, at[f"{name}.mlp"] = _add(walk, v[f"{name}.middle"], v[f"{name}.mlp"], r)
    at[f"{name}.mlp.active"] = at[f"{name}.mlp.hidden"] = _linear(
        walk,
        f"{name}.mlp.2",
        block.mlp[2].weight,
        block.mlp[2].bias,
        v[f"{name}.mlp.active"],
        at[f"{name}.mlp"],
    )
    at[f"{name}.norm2"] = _linear(
        walk,
        f"{name}.mlp.0",
        block.mlp[0].weight,
        block.mlp[0].bias,
        v[f"{name}.norm2"],
        at[f"{name}.mlp.hidden"],
    )
    at[f"{name}.middle"] = skipped + _norm(walk, f"{name}.norm2", block.norm2, at[f"{name}.norm2"])
    skipped, at[f"{name}.attention"] = _add(
        walk, v[f"{name}.input"], v[f"{name}.attention"], at[f"{name}.middle"]
    )
    at[f"{name}.norm1"] = _attention(walk, f"{name}.attention", block.attention)
    at[f"{name}.input"] = skipped + _norm(walk, f"{name}.norm1", block.norm1, at[f"{name}.norm1"])
    return at[f"{name}.input"]  # fmt: skip


def _attention(walk: Walk, name: str, attention: Any) -> Tensor:
    v, at, out = walk.values, walk.at, attention.inner.out_proj
    mixed = _joined(v[f"{name}.mixed"])
    found = _linear(walk, f"{name}.out_proj", out.weight, out.bias, mixed, at[name])
    at[f"{name}.mixed"] = _heads(found, attention.heads)
    at.update(_inside_attention(walk, name))
    total = torch.zeros_like(v[f"{name}.input"])
    for part, (weight, bias) in _projections(attention).items():
        r = _joined(at[f"{name}.{part}"])
        total = total + _linear(walk, f"{name}.{part}", weight, bias, v[f"{name}.input"], r)
    return total


def _inside_attention(walk: Walk, name: str) -> Mapping[str, Tensor]:
    """Return the relevance of the attention matrix, its logits, queries, keys and values."""
    v, r = walk.values, walk.at[f"{name}.mixed"]
    matrix, logits, q, k, values = (v[f"{name}.{part}"] for part in ("matrix", "logits", *PARTS))
    if walk.method == "cp_lrp":
        found = [0 * matrix, 0 * logits, 0 * q, 0 * k, _weighted_sum(walk, matrix, values, r)]
    else:
        of_matrix, of_values = _product(walk, matrix, values, r)
        of_logits = _softmax(walk, logits, matrix, of_matrix)
        walk.constants[f"{name}.softmax"] = (of_matrix.sum() - of_logits.sum()).item()
        of_q, of_k = _product(walk, q, k.transpose(1, 2), of_logits)
        found = [of_matrix, of_logits, of_q, of_k.transpose(1, 2), of_values]
    parts = ("matrix", "logits", *PARTS)
    return {f"{name}.{part}": one for part, one in zip(parts, found, strict=True)}


def _embedding(walk: Walk, r: Tensor) -> Tensor:
    v, at, model = walk.values, walk.at, walk.model
    at["tokens"] = r
    at["sequence"], at["position"] = _add(walk, v["sequence"], model.position[0], r)
    at["class_token"], at["patches"] = at["sequence"][:1], at["sequence"][1:]
    for name in ("position", "class_token"):
        walk.constants[name] = at[name].sum().item()
    matrix, bias = dense_of(model.patches, tuple(v["image"].shape))
    rule, params = walk.rule("patches")
    flat, z, out = v["image"].flatten(), v["patches"].T.flatten(), at["patches"].T.flatten()
    kept = bias_share(rule, matrix, bias, flat, z, out, **params)
    walk.constants["patches"] = kept.sum().item()
    found = relevance(rule, matrix, bias, flat, z, out, **params)
    return found.reshape(v["image"].shape)

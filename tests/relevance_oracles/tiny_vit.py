"""A vision transformer that is small enough to be propagated by hand, in three spellings."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Spelling = Literal["explicit", "fused", "module"]
SPELLINGS: tuple[Spelling, ...] = ("explicit", "fused", "module")
"""Attention as matmul and softmax, by `F.scaled_dot_product_attention`, `nn.MultiheadAttention`."""


class SelfAttention(nn.Module):
    """Multi-head self-attention; the parameters are those of `nn.MultiheadAttention`."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.spelling: Spelling = "explicit"
        self.heads = heads
        self.inner = nn.MultiheadAttention(width, heads, batch_first=True)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        if self.spelling == "module":
            y: Tensor = self.inner(x, x, x, need_weights=False)[0]
            return y
        projected = F.linear(x, self.inner.in_proj_weight, self.inner.in_proj_bias)
        q, k, v = (self._split(part) for part in projected.chunk(3, dim=-1))
        y = self._attend(q, k, v).transpose(1, 2).flatten(2)
        return F.linear(y, self.inner.out_proj.weight, self.inner.out_proj.bias)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if self.spelling == "fused":
            return F.scaled_dot_product_attention(q, k, v)
        matrix: Tensor = self.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5)
        return matrix @ v


class Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class TinyViT(nn.Module):
    """From `(N, 3, 8, 8)` to four scores: four patches and a class token, two blocks."""

    def __init__(self, width: int = 8, heads: int = 2, hidden: int = 12, depth: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, stride=4)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.zeros(1, 5, width))
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(x), -1, -1), tokens], dim=1)
        tokens = tokens + self.position
        for block in self.blocks:
            tokens = block(tokens)
        scores: Tensor = self.head(self.norm(tokens)[:, 0])
        return scores


def tiny_vit(constants: bool = True, seed: int = 0) -> TinyViT:
    """Return the network with random parameters, in float64.

    Without `constants`, all that is added is zero: biases, class token, position embedding.
    """
    model: Any = TinyViT().double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        parameter.mul_(0.3 if parameter.dim() > 1 else 0.2)
        if "norm" in name and name.endswith("weight"):
            parameter.add_(1.0)
        if not constants and (name.endswith("bias") or name in ("class_token", "position")):
            parameter.zero_()
    return model


def spelled(model: TinyViT, spelling: Spelling) -> TinyViT:
    """Return the same network, sharing its parameters, with its attention spelled otherwise."""
    shared = {id(parameter): parameter for parameter in model.parameters()}
    other: Any = deepcopy(model, shared)
    for block in other.blocks:
        block.attention.spelling = spelling
    assert isinstance(other, TinyViT)
    return other

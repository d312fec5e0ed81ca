"""A transformer whose attention is spelled in several ways, and its matrices by plain autograd."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from helpers import noise
from numpy.typing import NDArray
from torch import Tensor, nn

Spelling = Literal["explicit", "bmm", "einsum", "fused", "module", "module with weights"]
SPELLINGS: tuple[Spelling, ...] = (
    "explicit",
    "bmm",
    "einsum",
    "fused",
    "module",
    "module with weights",
)
WIDTH, HEADS = 12, 3
IMAGES = noise(2, 3, 8, 12)
PREFIX = 1


@dataclass(frozen=True)
class Options:
    """What an attention is computed with."""

    mask: Tensor | None = None
    causal: bool = False
    scale: float | None = None
    key_heads: int = HEADS


class Attend(nn.Module):
    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options
        self.spelling: Spelling = "explicit"
        self.inner = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, dropout=0.1)
        self.matrix = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        if self.spelling.startswith("module"):
            return self._by_module(x)
        linear = F.linear(x, self.inner.in_proj_weight, self.inner.in_proj_bias)
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in linear.chunk(3, -1))
        k, v = k[:, : self.options.key_heads], v[:, : self.options.key_heads]
        y: Tensor = self.inner.out_proj(self._attend(q, k, v).transpose(1, 2).flatten(2))
        return y

    def _by_module(self, x: Tensor) -> Tensor:
        mask = self.options.mask
        if mask is not None and mask.dtype is torch.bool:
            mask = ~mask
        needs = self.spelling.endswith("weights")
        y: Tensor = self.inner(x, x, x, attn_mask=mask, need_weights=needs)[0]
        return y

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        own = self.options
        if self.spelling == "fused":
            shared = own.key_heads < HEADS
            drop = 0.1 * self.training
            return F.scaled_dot_product_attention(
                q, k, v, own.mask, drop, own.causal, scale=own.scale, enable_gqa=shared
            )
        repeats = HEADS // own.key_heads
        k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
        scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if own.scale is None else own.scale)
        matrix = self.matrix(F.softmax(self._masked(scores), dim=-1))
        if self.spelling == "bmm":
            return torch.bmm(matrix.flatten(0, 1), v.flatten(0, 1)).unflatten(0, (-1, HEADS))
        if self.spelling == "einsum":
            return torch.einsum("bhqk,bkhd->bhqd", matrix, v.transpose(1, 2))
        return matrix @ v

    def _masked(self, scores: Tensor) -> Tensor:
        mask = self.options.mask
        if self.options.causal:
            mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        if mask is None:
            return scores
        return scores.masked_fill(~mask, -torch.inf) if mask.dtype is torch.bool else scores + mask


class Block(nn.Module):
    def __init__(self, options: Options) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = Attend(options)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 16), nn.GELU(), nn.Linear(16, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class Attending(nn.Module):
    """From `(N, 3, 8, 12)` to four scores: 2 × 3 patches behind a class token or others."""

    def __init__(self, options: Options, prefix: int, pool: str) -> None:
        super().__init__()
        self.pool = pool
        self.patches = nn.Conv2d(3, WIDTH, 4, stride=4)
        self.prefix = nn.Parameter(torch.randn(1, prefix, WIDTH))
        self.position = nn.Parameter(torch.randn(1, prefix + 6, WIDTH))
        self.blocks = nn.ModuleList(Block(options) for _ in range(3))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.prefix.expand(len(x), -1, -1), tokens], 1) + self.position
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        scores: Tensor = self.head(tokens[:, 0] if self.pool == "class" else tokens.mean(1))
        return scores


def attending(
    spelling: Spelling = "fused", *, prefix: int = PREFIX, pool: str = "class", **options: Any
) -> Any:
    """Return the model in one spelling; all have the same parameters, large enough to attend."""
    torch.manual_seed(3)
    model = Attending(Options(**options), prefix, pool).double().eval()
    with torch.no_grad():
        for block in model.blocks:
            block.attention.inner.in_proj_weight *= 3  # type: ignore[operator]
    return respelled(model, spelling)


def respelled(model: Any, spelling: Spelling) -> Any:
    other = deepcopy(model)
    for block in other.blocks:
        block.attention.spelling = spelling
    return other


Array = NDArray[np.float64]


def eager(model: Any, target: int = 1, x: Tensor = IMAGES) -> tuple[list[Array], list[Array]]:
    """Return the matrices of the explicit spelling and their gradients, `(N, heads, T, T)`."""
    model = respelled(model, "explicit")
    found: list[Tensor] = []
    for block in model.blocks:
        block.attention.matrix.register_forward_hook(lambda *call: found.append(call[2]))
    with torch.enable_grad():
        score = model(x.clone().requires_grad_())[:, target].sum()
    gradients = torch.autograd.grad(score, found)
    return [one.detach().numpy() for one in found], [one.numpy() for one in gradients]


def as_map(rows: Array) -> Tensor:
    """Return rows `(N, tokens)` as maps, without the tokens before the patches."""
    return torch.tensor(rows[:, -6:]).view(len(rows), 1, 2, 3)

"""Networks whose decision is known by construction, with weights that are set, not trained.

All see pictures of 32 pixels with values from 0 to 1, where 0 is black, and explain class 1.
Weights are sums of powers of two, so that what cancels does so exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from torchattr.core.gradient_mode import gradients

SIDE = 32
CELL = 4
"""The side of what a detector sees, in pixels."""

CELLS = SIDE // CELL

CLASSES = 4
"""As many as the methods need that compare a class with others."""

CORNER = (slice(0, 2), slice(0, 2))
"""The cells of the corner in which the stamp decides."""


def checks() -> Tensor:
    """Return the pattern of the stamp, of -1 and 1, `(3, 4, 4)`: a chequerboard."""
    rows, columns = torch.meshgrid(torch.arange(CELL), torch.arange(CELL), indexing="ij")
    return (1.0 - 2 * ((rows + columns) % 2)).expand(3, -1, -1).clone()


def stripes() -> Tensor:
    """Return the pattern of the distractor, `(3, 4, 4)`: vertical stripes."""
    return (1.0 - 2 * (torch.arange(CELL) // 2 % 2)).expand(3, CELL, -1).clone()


def detectors(*patterns: Tensor) -> nn.Conv2d:
    """Return a convolution that answers 1/2 to each pattern in full contrast, 1/4 below 0 to grey.

    The patterns have as many -1 as 1, so that a plain area of any brightness gives nothing.
    """
    conv = nn.Conv2d(3, len(patterns), CELL, stride=CELL)
    with gradients(False):
        conv.weight.copy_(torch.stack(patterns) / 32)
        conv.bias = nn.Parameter(torch.full((len(patterns),), -0.25))
    return conv


def reading(weights: Tensor, bias: float = 0.0) -> nn.Linear:
    """Return a head whose class 1 has these weights, and whose other classes are constant."""
    head = nn.Linear(weights.numel(), CLASSES)
    with gradients(False):
        head.weight.zero_()
        head.weight[1] = weights.flatten()
        head.bias.zero_()
        head.bias[1] = bias
    return head


def in_corner(channels: int) -> Tensor:
    """Return weights `(channels, cells, cells)` that read the first channel in the corner."""
    weights = torch.zeros(channels, CELLS, CELLS)
    weights[0][CORNER] = 1.0
    return weights


def stamp_network() -> nn.Module:
    """Return a network that looks for the stamp everywhere, and reads the answers in one corner."""
    convolution = detectors(checks(), stripes())
    return nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), reading(in_corner(2))).eval()


def cancelling_network() -> nn.Module:
    """Return a network that adds what it sees of the stripes, and subtracts it again."""
    weights = in_corner(3)
    weights[1], weights[2] = 1.0, -1.0
    convolution = detectors(checks(), stripes(), stripes())
    return nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), reading(weights)).eval()


def saturated_network() -> nn.Module:
    """Return a network that needs less than it sees: `4 (1 - relu(1 - 4 Σ stamp))`."""
    missing = nn.Linear(CELLS * CELLS, 1)
    with gradients(False):
        missing.weight.copy_(-4 * in_corner(1).flatten())
        missing.bias.fill_(1.0)
    head = reading(torch.tensor([-4.0]), bias=4.0)
    convolution = detectors(checks())
    return nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), missing, nn.ReLU(), head).eval()


def colour_network() -> nn.Module:
    """Return a network that counts the pixels of each colour, and decides by the red ones."""
    convolution = nn.Conv2d(3, 3, 1)
    with gradients(False):
        weights = 1.5 * torch.eye(3) - 0.5
        convolution.weight.copy_(weights[:, :, None, None])
        convolution.bias = nn.Parameter(torch.full((3,), -0.25))
    head = reading(torch.tensor([16.0, 0.0, 0.0]))
    return nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).eval()


def channel_network() -> nn.Module:
    """Return a network that sees all channels, and decides by the first one."""
    convolution = nn.Conv2d(3, 3, 1)
    with gradients(False):
        convolution.weight.copy_(torch.eye(3)[:, :, None, None])
        convolution.bias = nn.Parameter(torch.full((3,), -0.25))
    head = reading(torch.tensor([16.0, 0.0, 0.0]))
    return nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).eval()


class TokenBlock(nn.Module):
    """Attention of one head whose class token attends to one kind of tokens.

    Each token is `(stamp, stripes, is class, found)`.

    Args:
        attended: the entry of the tokens that draws attention: 0 the stamp, 1 the stripes.
        is_used: whether what the attended tokens show of the stamp is added; else nothing is.
    """

    def __init__(self, attended: int, is_used: bool) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(4, 4, bias=False) for _ in range(3))
        with gradients(False):
            for part in (self.query, self.key, self.value):
                part.weight.zero_()
            self.query.weight[0, 2] = 32.0
            self.key.weight[0, attended] = 4.0
            self.value.weight[3, 0] = float(is_used)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return tokens `(N, tokens, 4)` and what they attend to."""
        query, key, value = (part(tokens)[:, None] for part in (self.query, self.key, self.value))
        return tokens + scaled_dot_product_attention(query, key, value)[:, 0]


class TokenNetwork(nn.Module):
    """A transformer of two blocks, with patches and a class token.

    If what it attends to is used, the head reads what the class token found; else it reads the
    patches themselves, past all attention.

    Args:
        attended: as for :class:`TokenBlock`.
        is_used: as for :class:`TokenBlock`.
    """

    def __init__(self, attended: int, is_used: bool) -> None:
        super().__init__()
        self.patches = detectors(checks(), stripes())
        self.token = nn.Parameter(torch.tensor([0.0, 0.0, 1.0, 0.0]))
        self.blocks = nn.Sequential(*(TokenBlock(attended, is_used) for _ in range(2)))
        self.is_used = is_used
        self.head = reading(4 * torch.eye(4)[3 if is_used else 0])

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores of the classes, `(N, 4)`."""
        seen = self.patches(x).relu().flatten(2).transpose(1, 2)
        patches = torch.cat([seen, torch.zeros_like(seen)], dim=2)
        tokens = torch.cat([self.token.expand(len(x), 1, 4), patches], dim=1)
        tokens = self.blocks(tokens)
        scores: Tensor = self.head(tokens[:, 0] if self.is_used else tokens.sum(1))
        return scores

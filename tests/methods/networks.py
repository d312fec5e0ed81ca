"""Small networks, and Grad-CAM by hand for them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ToGrid = Callable[[Tensor], Tensor]
"""From a layer's values to `(N, C, h, w)`."""


class Net(nn.Module):
    """A network whose forward is a function of it and its inputs."""

    def __init__(self, run: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.run = run
        for name, part in parts.items():
            setattr(self, name, part)
        self.double().eval()

    def forward(self, *inputs: Any) -> Any:
        return self.run(self, *inputs)


class Block(nn.Module):
    """A block of a transformer."""

    def __init__(self, width: int = 8, batch_first: bool = True) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 2, batch_first=batch_first)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm(x))


def conv(channels: int = 3, out: int = 8) -> nn.Module:
    return nn.Conv2d(channels, out, 3, padding=1)


def head() -> nn.Module:
    return nn.Linear(8, 3)


def pooled(net: Any, h: Tensor) -> Tensor:
    """The scores of channels-first values."""
    scores: Tensor = net.head(h.mean((2, 3)))
    return scores


def through(change: Callable[[Any, Tensor], Tensor], **parts: Any) -> Net:
    """A network whose layer `last`, a normalisation, directly follows a change of the values."""
    parts = {"first": conv(), "last": nn.BatchNorm2d(8), "head": head(), **parts}
    return Net(lambda net, x: pooled(net, net.last(change(net, x))), **parts)


def pictures(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64)


def cam(
    net: nn.Module, layer: str, inputs: Tensor | Sequence[Tensor], to_grid: ToGrid, call: int = -1
) -> Tensor:
    """Grad-CAM for class 1 by hand, with plain autograd."""
    seen: list[Tensor] = []
    hook = net.get_submodule(layer).register_forward_hook(lambda *given: seen.append(given[2]))
    tensors = [inputs] if isinstance(inputs, Tensor) else inputs
    scores = net(*(one.clone().requires_grad_() for one in tensors))
    hook.remove()
    (gradient,) = torch.autograd.grad(scores[:, 1].sum(), seen[call])
    values, gradient = to_grid(seen[call].detach()), to_grid(gradient)
    return (gradient.mean((2, 3), keepdim=True) * values).sum(1, keepdim=True)


def channels_first(values: Tensor) -> Tensor:
    return values


def channels_last(values: Tensor) -> Tensor:
    return values.permute(0, 3, 1, 2)


def tokens(height: int, width: int, before: int = 0, after: int = 0) -> ToGrid:
    """Read `(N, tokens, C)`."""

    def to_grid(values: Tensor) -> Tensor:
        inner = values[:, before : values.shape[1] - after]
        return inner.transpose(1, 2).reshape(len(values), -1, height, width)

    return to_grid


def vit(before: int = 1, after: int = 0, *, batch_first: bool = True, pool: str = "mean") -> Net:
    """A vision transformer with tokens besides those of its grid."""

    def run(net: Any, x: Tensor) -> Tensor:
        h = net.stem(x).flatten(2).transpose(1, 2)
        extra = [net.extra.expand(len(x), count, -1) for count in (before, after)]
        h = torch.cat([extra[0], h, extra[1]], 1) + net.position[:, : h.shape[1] + before + after]
        h = h if batch_first else h.transpose(0, 1)
        h = net.blocks(h)
        h = h if batch_first else h.transpose(0, 1)
        return net.head({"mean": h.mean(1), "class": h[:, 0], "last": h[:, -1]}[pool])

    return Net(
        run,
        stem=nn.Conv2d(3, 8, 2, 2),
        extra=nn.Parameter(torch.rand(1, 1, 8)),
        position=nn.Parameter(torch.rand(1, 60, 8)),
        blocks=nn.Sequential(Block(8, batch_first), Block(8, batch_first)),
        head=head(),
    )


def attention_by_hand(net: Any, x: Tensor) -> Tensor:
    """Attention whose weights are a layer's output."""
    h = net.stem(x).flatten(2).transpose(1, 2)
    n, length, width = h.shape
    q, k, v = net.qkv(h).reshape(n, length, 3, 2, width // 2).permute(2, 0, 3, 1, 4).unbind(0)
    weights = net.weights((q @ k.transpose(-2, -1)).softmax(-1))
    mixed = (weights @ v).transpose(1, 2).reshape(n, length, width)
    scores: Tensor = net.head(net.last(net.out(mixed) + h).mean(1))
    return scores


def with_heads() -> Net:
    return Net(
        attention_by_hand,
        stem=nn.Conv2d(3, 8, 2, 2),
        qkv=nn.Linear(8, 24),
        weights=nn.Identity(),
        out=nn.Linear(8, 8),
        last=nn.LayerNorm(8),
        head=head(),
    )


def windows(net: Any, x: Tensor, *, shift: int = 0) -> Tensor:
    """Attention in windows of 4 × 4, as Swin's."""
    h = net.first(x).permute(0, 2, 3, 1)
    n, height, width, channels = h.shape
    whole = h
    if shift:
        h = torch.roll(h, (-shift, -shift), (1, 2))
    h = h.view(n, height // 4, 4, width // 4, 4, channels).transpose(2, 3)
    h = net.block(h.reshape(-1, 16, channels))
    h = h.view(n, height // 4, width // 4, 4, 4, channels).transpose(2, 3)
    h = h.reshape(n, height, width, channels)
    if shift:
        h = torch.roll(h, (shift, shift), (1, 2))
    scores: Tensor = net.head(net.last(h + whole).mean((1, 2)))
    return scores


def windowed(shift: int = 0) -> Net:
    return Net(
        lambda net, x: windows(net, x, shift=shift),
        first=conv(),
        block=Block(),
        last=nn.LayerNorm(8),
        head=head(),
    )


def patchify(kind: str) -> Net:
    """A transformer whose 2 × 2 patches are extracted in the given way."""

    def cut(x: Tensor) -> Tensor:
        n, c, height, width = x.shape
        h, w = height // 2, width // 2
        if kind == "reshape":
            return x.reshape(n, c, h, 2, w, 2).permute(0, 2, 4, 1, 3, 5).reshape(n, h * w, c * 4)
        if kind == "unfold":
            return F.unfold(x, 2, stride=2).transpose(1, 2)
        if kind == "Tensor.unfold":
            inner = x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5)
            return inner.reshape(n, h * w, c * 4)
        if kind == "slices":
            parts = [x[:, :, i::2, j::2] for i in range(2) for j in range(2)]
            return torch.stack(parts, -1).permute(0, 2, 3, 1, 4).flatten(3).flatten(1, 2)
        if kind == "unflatten":
            split = x.unflatten(2, (h, 2)).unflatten(4, (w, 2))
            return split.movedim((2, 4), (1, 2)).flatten(3).flatten(1, 2)
        return F.pixel_unshuffle(x, 2).flatten(2).transpose(1, 2)

    return Net(
        lambda net, x: net.head(net.last(net.embed(cut(x))).mean(1)),
        embed=nn.Linear(12, 8),
        last=Block(),
        head=head(),
    )

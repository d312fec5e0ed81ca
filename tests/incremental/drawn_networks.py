"""Small random networks, for tests of incremental computation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor, nn

Step = Callable[[np.random.Generator, Tensor], nn.Module]


class Residual(nn.Module):
    def __init__(self, body: nn.Module, *, in_place: bool) -> None:
        super().__init__()
        self.body, self.in_place = body, in_place

    def forward(self, x: Tensor) -> Tensor:
        out = self.body(x)
        if self.in_place:
            out += x
            return out
        return x + out


class Concatenated(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], dim=1)


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, *, in_place: bool) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Conv2d(channels, channels, 1)
        self.in_place = in_place

    def forward(self, x: Tensor) -> Tensor:
        scale = self.gate(self.pool(x)).sigmoid()
        return x.mul_(scale) if self.in_place else scale * x


class Shuffled(nn.Module):
    """Channels in another order, as in ShuffleNet."""

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


class Mixer(nn.Module):
    """A norm and a product over the channels of each pixel, as in ConvNeXt."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.linear = nn.Linear(channels, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


def convolution(random: np.random.Generator, x: Tensor, out: int | None = None) -> nn.Module:
    """Draw a convolution; with `out`, one that keeps height and width."""
    channels = x.shape[1]
    extent = tuple(int(k) for k in random.choice([1, 2, 3, 3, 5], 2))
    dilation = tuple(int(d) for d in random.integers(1, 3, 2))
    options: dict[str, Any] = {
        "kernel_size": extent,
        "dilation": dilation,
        "bias": bool(random.integers(2)),
    }
    if out is None:
        options["stride"] = tuple(int(s) for s in random.choice([1, 1, 2, 3], 2))
        options["padding"] = tuple(int(random.integers(0, k + 1)) for k in extent)
        options["padding_mode"] = str(
            random.choice(["zeros", "zeros", "reflect", "replicate", "circular"])
        )
        if random.random() < 0.2:
            options.update(padding="valid")
    if out is not None or random.random() < 0.2:
        options.update(stride=1, padding="same", padding_mode="zeros")
    wanted = out or int(random.integers(1, 7))
    groups = [g for g in (1, 1, 2, 3, channels) if channels % g == 0 and wanted % g == 0]
    return nn.Conv2d(channels, wanted, groups=int(random.choice(groups)), **options)


def max_pool(random: np.random.Generator, x: Tensor) -> nn.Module:
    extent, stride, dilation = (int(i) for i in random.integers(1, [4, 4, 3]))
    padding = int(random.integers(0, extent // 2 + 1))
    return nn.MaxPool2d(extent, stride, padding, dilation, ceil_mode=bool(random.integers(2)))


def mean_pool(random: np.random.Generator, x: Tensor) -> nn.Module:
    extent, stride = (int(i) for i in random.integers(1, 4, 2))
    return nn.AvgPool2d(
        (extent, 2),
        stride,
        (int(random.integers(0, extent // 2 + 1)), int(random.integers(2))),
        ceil_mode=bool(random.integers(2)),
        count_include_pad=bool(random.integers(2)),
        divisor_override=5 if random.random() < 0.2 else None,
    )


def adaptive_pool(random: np.random.Generator, x: Tensor) -> nn.Module:
    size = tuple(int(random.integers(1, side + 1)) for side in x.shape[2:])
    whole = bool(random.integers(2))
    kind = nn.AdaptiveAvgPool2d if random.integers(2) else nn.AdaptiveMaxPool2d
    return kind(tuple(1 if whole else side for side in size))


def batch_norm(random: np.random.Generator, x: Tensor) -> nn.Module:
    norm = nn.BatchNorm2d(x.shape[1], affine=bool(random.integers(2)))
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        for parameter in norm.parameters():
            parameter.uniform_(0.5, 1.5)
    return norm


def activation(random: np.random.Generator, x: Tensor) -> nn.Module:
    in_place = bool(random.integers(2))
    made = [
        nn.ReLU(in_place),
        nn.ReLU6(in_place),
        nn.LeakyReLU(0.1, in_place),
        nn.SiLU(in_place),
        nn.Hardswish(in_place),
        nn.GELU(),
        nn.PReLU(x.shape[1]),
    ]
    return made[random.integers(len(made))]


def residual(random: np.random.Generator, x: Tensor) -> nn.Module:
    body = [convolution(random, x, out=x.shape[1])]
    if random.integers(2):
        body.append(batch_norm(random, x))
    return Residual(nn.Sequential(*body), in_place=bool(random.integers(2)))


def block(random: np.random.Generator, x: Tensor) -> nn.Module:
    """Draw a convolution with its batch-norm and rectifier, which are fused."""
    first = convolution(random, x)
    made = first.double()(x)
    return nn.Sequential(first, batch_norm(random, made), nn.ReLU(bool(random.integers(2))))


def concatenated(random: np.random.Generator, x: Tensor) -> nn.Module:
    return Concatenated(convolution(random, x, out=int(random.integers(1, 4))))


def pad(random: np.random.Generator, x: Tensor) -> nn.Module:
    return nn.ConstantPad2d(tuple(int(p) for p in random.integers(-1, 4, 4)), random.random())


def dropout(random: np.random.Generator, x: Tensor) -> nn.Module:
    return nn.Dropout(0.5, bool(random.integers(2)))


def squeeze_excite(random: np.random.Generator, x: Tensor) -> nn.Module:
    return SqueezeExcite(x.shape[1], in_place=bool(random.integers(2)))


def shuffled(random: np.random.Generator, x: Tensor) -> nn.Module:
    return Shuffled()


def mixer(random: np.random.Generator, x: Tensor) -> nn.Module:
    return Mixer(x.shape[1], int(random.integers(1, 6)))


def resized(random: np.random.Generator, x: Tensor) -> nn.Module:
    mode = str(random.choice(["nearest", "nearest", "bilinear", "area"]))
    return nn.Upsample(scale_factor=float(random.choice([0.5, 1 / 3, 2])), mode=mode)


STEPS: dict[str, Step] = {
    step.__name__: step
    for step in (
        *(convolution, block, residual, max_pool, mean_pool, adaptive_pool, batch_norm),
        *(activation, concatenated, pad, dropout, squeeze_excite, shuffled, mixer, resized),
    )
}


def head(random: np.random.Generator, x: Tensor) -> nn.Module:
    """Draw a head from features to scores: most often flattening and a product, sometimes none."""
    kind = random.integers(4)
    if kind == 0:
        return nn.Identity()
    if kind == 1:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(x.shape[1], 4))
    return nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 4))


def built(kinds: list[str], seed: int, shape: tuple[int, int, int]) -> nn.Module:
    """Build a network of some steps, without those that are not possible."""
    random = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        x, made = torch.rand(1, *shape, dtype=torch.float64), []
        for make in (*(STEPS[kind] for kind in kinds), head):
            try:
                step = make(random, x).double().eval()
                found = step(x.clone())
            except (RuntimeError, ValueError):
                continue  # the image is too small for it by now
            if found.numel():
                x = found
                made.append(step)
        return nn.Sequential(*made).requires_grad_(False)


@st.composite
def networks(draw: st.DrawFn) -> tuple[nn.Module, Tensor]:
    """Draw a network in float64, and images for it."""
    kinds = draw(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=7))
    shape = draw(st.tuples(st.integers(1, 4), st.integers(3, 17), st.integers(3, 17)))
    seed, count = draw(st.integers(0, 2**16)), draw(st.integers(1, 3))
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, *shape, dtype=torch.float64, generator=generator)
    return built(kinds, seed, shape), x

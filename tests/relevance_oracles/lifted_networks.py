"""Small networks, each as a module and as a program of pairs for DeepLIFT's oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from helpers import noise, seeded
from networks import Net
from torch import Tensor, nn

from relevance_oracles import deep_lift as dl
from relevance_oracles.deep_lift import Pair, Program


@dataclass(frozen=True)
class Lifted:
    """A network, what it does to a pair, and the shape of one example."""

    model: nn.Module
    program: Program
    shape: tuple[int, ...]
    captum: bool
    """Whether Captum's DeepLift is right for it."""


def _in_turn(*steps: Callable[[Pair], Pair]) -> Program:
    def program(pair: Pair) -> Pair:
        for step in steps:
            pair = step(pair)
        return pair

    return program


def _through(layer: nn.Module) -> Program:
    return lambda pair: dl.linear(pair, layer)


def _each(function: Callable[[Tensor], Tensor]) -> Program:
    return lambda pair: dl.elementwise(pair, function)


def _flat(pair: Pair) -> Pair:
    return dl.reshaped(pair, pair.value.numel())


def _randomised(model: nn.Module) -> nn.Module:
    """Give batch-norms statistics, and all normalisations parameters of their own."""
    for index, norm in enumerate(one for one in model.modules() if "Norm" in type(one).__name__):
        n: Any = norm
        n.weight.data.copy_(1 + 0.7 * noise(len(n.weight), seed=20 + index))
        n.bias.data.copy_(0.4 * noise(len(n.bias), seed=30 + index))
        if isinstance(norm, nn.BatchNorm2d):
            n.running_mean.copy_(0.3 * noise(len(n.weight), seed=40 + index))
            n.running_var.copy_(0.5 + noise(len(n.weight), seed=50 + index) ** 2)
    return model


def saturating() -> Lifted:
    m: Any = seeded(
        lambda: nn.Sequential(
            nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 6), nn.Sigmoid(), nn.Linear(6, 3)
        ).double()
    )
    steps = (_through(m[0]), _each(torch.tanh), _through(m[2]), _each(torch.sigmoid))
    return Lifted(m, _in_turn(*steps, _through(m[4])), (5,), captum=True)


def rectified() -> Lifted:
    m: Any = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(),
            nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 4), nn.ReLU(), nn.Linear(4, 3),
        ).double()
    )  # fmt: skip
    _randomised(m)
    first = (_through(m[0]), _through(m[1]), _each(torch.relu), _through(m[3]), _flat)
    second = (_through(m[5]), _each(torch.relu), _through(m[7]))
    return Lifted(m, _in_turn(*first, *second), (2, 4, 4), captum=True)


def pooled(apart: bool) -> Lifted:
    """A max-pool directly behind a ReLU, or with a convolution between both."""
    between = [nn.Conv2d(3, 3, 1)] if apart else []
    m: Any = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), *between, nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(12, 3),
        ).double()
    )  # fmt: skip
    steps = [_through(m[0]), _each(torch.relu), *(_through(m[2]) for _ in between)]
    program = _in_turn(*steps, lambda pair: dl.max_pool(pair, 2, 2), _flat, _through(m[-1]))
    return Lifted(m, program, (2, 4, 4), captum=apart)


def gated() -> Lifted:
    """A product of two branches that both depend on the input."""

    def run(net: Any, x: Tensor) -> Tensor:
        y: Tensor = net.head(torch.relu(net.body(x)) * torch.sigmoid(net.gate(x)))
        return y

    m: Any = seeded(
        lambda: Net(run, body=nn.Linear(5, 6), gate=nn.Linear(5, 6), head=nn.Linear(6, 3))
    )

    def program(pair: Pair) -> Pair:
        body = dl.elementwise(dl.linear(pair, m.body), torch.relu)
        gate = dl.elementwise(dl.linear(pair, m.gate), torch.sigmoid)
        return dl.linear(dl.multiplied(body, gate), m.head)

    return Lifted(m, program, (5,), captum=False)


def attending() -> Lifted:
    """Self-attention of three tokens with a residual and a layer norm behind it."""

    def run(net: Any, x: Tensor) -> Tensor:
        matrix = torch.softmax(net.q(x) @ net.k(x).transpose(-1, -2) / 2, dim=-1)
        y: Tensor = net.head(net.norm(x + matrix @ net.v(x)).flatten(1))
        return y

    m: Any = seeded(
        lambda: Net(
            run, q=nn.Linear(4, 4), k=nn.Linear(4, 4), v=nn.Linear(4, 4),
            norm=nn.LayerNorm(4), head=nn.Linear(12, 3),
        )
    )  # fmt: skip
    _randomised(m)

    def program(pair: Pair) -> Pair:
        q, k, v = (dl.linear(pair, layer) for layer in (m.q, m.k, m.v))
        half = torch.tensor(0.5, dtype=torch.float64)
        logits = dl.scaled(dl.matrix_product(q, dl.transposed(k)), half)
        mixed = dl.matrix_product(dl.softmax(logits), v)
        return dl.linear(_flat(dl.layer_norm(dl.added(pair, mixed), m.norm)), m.head)

    return Lifted(m, program, (3, 4), captum=False)


NETWORKS: dict[str, Callable[[], Lifted]] = {
    "saturating": saturating,
    "rectified": rectified,
    "pooled behind an activation": lambda: pooled(apart=False),
    "pooled behind a convolution": lambda: pooled(apart=True),
    "gated": gated,
    "attending": attending,
}

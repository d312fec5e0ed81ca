"""Normalisations: the gradient of the network in which their statistics are constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise
from relevance_oracles.engine import composite_of, ledger_of, relevance_of, traced
from torch import Tensor

pytestmark = pytest.mark.usefixtures("outputs_are_the_models_own")

RULES = {
    "batch_norm": "affine",
    **dict.fromkeys(
        ("layer_norm", "rms_norm", "group_norm", "instance_norm", "normalize"), "frozen"
    ),
}
X = noise(2, 4, 3, 5) + 0.4
W, B = noise(4, seed=2), noise(4, seed=3)
MEAN, VAR = noise(4, seed=4), noise(4, seed=5) ** 2 + 0.3
W5, B5 = noise(5, seed=6), noise(5, seed=7)
W35, B35 = noise(3, 5, seed=8), noise(3, 5, seed=9)


def along(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1)


def frozen(x: Tensor, dims: tuple[int, ...], eps: float, centre: bool = True) -> Tensor:
    """Normalise with a scale that is detached."""
    centred = x - x.mean(dims, keepdim=True) if centre else x
    scale = (centred.detach() ** 2).mean(dims, keepdim=True) + eps
    return centred / scale.sqrt()


def grouped(x: Tensor, groups: int, eps: float) -> Tensor:
    return frozen(x.reshape(len(x), groups, -1), (2,), eps).reshape(x.shape)


Function = Callable[[Tensor], Tensor]

CASES: dict[str, tuple[Function, Function]] = {
    "batch": (
        lambda x: F.batch_norm(x, MEAN, VAR, W, B, eps=1e-3),
        lambda x: (x - along(MEAN)) / along(VAR + 1e-3).sqrt() * along(W) + along(B),
    ),
    "batch, plain": (
        lambda x: F.batch_norm(x, MEAN, VAR),
        lambda x: (x - along(MEAN)) / along(VAR + 1e-5).sqrt(),
    ),
    "layer": (
        lambda x: F.layer_norm(x, (5,), W5, B5, 1e-3),
        lambda x: frozen(x, (-1,), 1e-3) * W5 + B5,
    ),
    "layer of two": (
        lambda x: F.layer_norm(x, (3, 5), W35, B35),
        lambda x: frozen(x, (-2, -1), 1e-5) * W35 + B35,
    ),
    "layer, plain": (lambda x: F.layer_norm(x, (5,)), lambda x: frozen(x, (-1,), 1e-5)),
    "layer, no bias": (
        lambda x: F.layer_norm(x, (5,), W5), lambda x: frozen(x, (-1,), 1e-5) * W5,
    ),
    "rms": (
        lambda x: F.rms_norm(x, (5,), W5, 1e-3),
        lambda x: frozen(x, (-1,), 1e-3, centre=False) * W5,
    ),
    "rms, plain": (
        lambda x: F.rms_norm(x, (3, 5)),
        lambda x: frozen(x, (-2, -1), torch.finfo(torch.float64).eps, centre=False),
    ),
    "group": (
        lambda x: F.group_norm(x, 2, W, B, 1e-3),
        lambda x: grouped(x, 2, 1e-3) * along(W) + along(B),
    ),
    "group, plain": (lambda x: F.group_norm(x, 1), lambda x: grouped(x, 1, 1e-5)),
    "instance": (
        lambda x: F.instance_norm(x, weight=W, bias=B),
        lambda x: grouped(x, 4, 1e-5) * along(W) + along(B),
    ),
    "instance, running": (
        lambda x: F.instance_norm(x, MEAN, VAR, W, B, use_input_stats=False),
        lambda x: (x - along(MEAN)) / along(VAR + 1e-5).sqrt() * along(W) + along(B),
    ),
    "normalize": (
        lambda x: F.normalize(x, dim=1),
        lambda x: x / x.detach().square().sum(1, keepdim=True).sqrt(),
    ),
    "normalize by magnitude": (
        lambda x: F.normalize(x, p=1.0, dim=-1),
        lambda x: x / x.detach().abs().sum(-1, keepdim=True),
    ),
    "normalize, small": (
        lambda x: F.normalize(x, dim=1, eps=100.0), lambda x: x / 100.0,
    ),
}  # fmt: skip

G = noise(2, 4, 3, 5, seed=11)


@pytest.mark.parametrize("name", CASES)
def test_signal_is_that_of_constant_statistics(name: str) -> None:
    function, twin = CASES[name]
    assert_same(twin(X), function(X), 1e-12)
    leaf = X.clone().requires_grad_()
    (own,) = torch.autograd.grad(twin(leaf), leaf, G)
    assert_same(relevance_of(function, X, G, RULES), X * own, 1e-10)


@pytest.mark.parametrize("name", CASES)
def test_what_a_norm_keeps_is_its_bias(name: str) -> None:
    function, _ = CASES[name]
    given, reached, entries = ledger_of(function, X, G, RULES)
    assert {entry.reason for entry in entries} <= {"bias"}
    kept = sum(entry.amount for entry in entries)
    assert abs(given - reached - kept) <= 1e-12 * (G * function(X)).abs().sum()


def test_every_norm_is_here() -> None:
    ran: set[Any] = set()
    for function, _ in CASES.values():
        ran |= set(traced(function, X, composite_of(RULES)).coverage.calls)
    assert ran == set(RULES)

"""Relevance in its place, and normalised sums, by explicit shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused
from relevance_oracles.engine import ledger_of, relevance_of
from torch import Tensor

from torchattr.errors import LayerError
from torchattr.layers.rules.relevance.identity import NormalisedSum

pytestmark = pytest.mark.usefixtures("outputs_are_the_models_own")

RULES: dict[str, Any] = {
    "batch_norm": "pass",
    "layer_norm": "pass",
    "group_norm": "pass",
    "instance_norm": "pass",
    "rms_norm": "pass",
    "normalize": "pass",
    "softmax": "pass",
    "attention": "pass",
    "matmul": "halves",
    "add": "normalised",
}
X = noise(2, 3, 4)
X[0, 0, 0] = 0.0
G = noise(2, 3, 4, seed=5)

PLACES: dict[str, Callable[[Tensor], Tensor]] = {
    "batch_norm": lambda x: F.batch_norm(
        x, noise(3), noise(3, seed=2) ** 2 + 0.3, noise(3, seed=3), noise(3, seed=4)
    ),
    "batch_norm, plain": lambda x: F.batch_norm(x, noise(3), noise(3, seed=2) ** 2 + 0.3),
    "instance_norm of running statistics": lambda x: F.instance_norm(
        x, noise(3), noise(3, seed=2) ** 2 + 0.3, use_input_stats=False
    ),
    "normalize": lambda x: F.normalize(x, dim=1),
    "layer_norm": lambda x: F.layer_norm(x, (4,), noise(4), noise(4, seed=2)),
    "group_norm": lambda x: F.group_norm(x, 1),
    "instance_norm": lambda x: F.instance_norm(x),
    "rms_norm": lambda x: F.rms_norm(x, (4,), noise(4)),
    "softmax": lambda x: x.softmax(-1),
}


@pytest.mark.parametrize("name", PLACES)
def test_relevance_stays_in_its_place_but_at_zeros(name: str) -> None:
    function = PLACES[name]
    relevance = function(X) * G
    assert_same(relevance_of(function, X, G, RULES), torch.where(X == 0, 0, relevance), 1e-12)
    given, reached, entries = ledger_of(function, X, G, RULES)
    assert {entry.reason for entry in entries} <= {"dead"}
    lost = sum(entry.amount for entry in entries)
    assert abs(lost - relevance[0, 0, 0]) < 1e-12
    assert abs(given - reached - lost) < 1e-12 * relevance.abs().sum()


MASK = torch.tensor([[True, True, False], [True, True, True], [False, True, True]])


@pytest.mark.parametrize("options", [{}, {"attn_mask": MASK}, {"is_causal": True}, {"scale": 0.3}])
def test_attention_is_its_products_and_softmax(options: Any) -> None:
    def explicit(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        logits = q @ k.mT * options.get("scale", 0.5)
        kept = torch.ones(3, 3).bool().tril() if "is_causal" in options else None
        kept = options.get("attn_mask", kept)
        if kept is not None:
            logits = logits.masked_fill(~kept, -torch.inf)
        return logits.softmax(-1) @ v

    def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, **options)

    one, both = (
        relevance_of(lambda x, of=of: of(2 * x, x.flip(1), x.flip(2)), X, G, RULES)
        for of in (fused, explicit)
    )
    assert_same(one, both, 1e-10)


def shares(a: Tensor, b: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Return the normalised shares of `a + b` of one example."""
    first, second = (a * g).sum(), (b * g).sum()
    whole = (first + second) / (first.abs() + second.abs())
    return a * g * first.sign() * whole, b * g * second.sign() * whole


SUMS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], float]] = {
    "plain": (lambda x: 2 * x + x.flip(1), lambda x: x.flip(1), 1.0),
    "in place": (lambda x: (2 * x).add_(x.flip(1)), lambda x: x.flip(1), 1.0),
    "scaled": (lambda x: torch.add(2 * x, x.flip(1), alpha=-0.5), lambda x: x.flip(1), -0.5),
}


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("examples", [1, 2])
def test_sum_is_scaled_to_the_whole_of_each_example(name: str, examples: int) -> None:
    function, second, scale = SUMS[name]
    expected = torch.zeros_like(X)
    parts = X.split(1) if examples == 2 else [X]
    signals = G.split(1) if examples == 2 else [G]
    found = []
    for x, g in zip(parts, signals, strict=True):
        of_first, of_second = shares(2 * x, scale * second(x), g)
        found.append(of_first + of_second.flip(1))
        assert abs((found[-1] - function(x) * g).sum()) < 1e-12
    expected = torch.cat(found)
    rule = NormalisedSum(examples)
    assert_same(relevance_of(function, X, G, {"add": rule}), expected, 1e-12)
    if examples == 2:
        own = rule.of_example(1, 2)
        assert_same(relevance_of(function, X[1:], G[1:], {"add": own}), expected[1:], 1e-12)


def test_constant_summand_keeps_its_share() -> None:
    constant = noise(4, seed=8)
    given, reached, (entry,) = ledger_of(lambda x: x + constant, X, G, {"add": NormalisedSum(2)})
    assert entry.reason == "constant"
    assert abs(reached - (X * G).sum()) < 1e-12
    assert abs(given - reached - entry.amount) < 1e-12


def test_sum_whose_examples_are_not_known_is_refused() -> None:
    rules = {"add": NormalisedSum(5)}
    with refused(LayerError, "none of the first two", "(2, 3, 4)", "one example at a time"):
        relevance_of(lambda x: x + 2 * x, X, G, rules)

"""The terms of relevance rules: quotients, and what a ledger needs of them."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import noise, seeded
from relevance_oracles.engine import composite_of, ledger_of, signal_of, traced
from torch import Tensor, nn

from torchattr.layers import LedgerBook
from torchattr.layers.rules.relevance.linear import AlphaBeta, Epsilon, Gamma, RelevanceRule, ZPlus
from torchattr.layers.rules.relevance.terms import (
    dead_free_quotient,
    stabilised,
    stabilised_quotient,
)


def test_stabilised_keeps_the_sign_and_that_of_zero_is_positive() -> None:
    values = torch.tensor([2.0, -2.0, 0.0, -0.0])
    assert stabilised(values, 0.5).tolist() == [2.5, -2.5, 0.5, 0.5]


def test_quotients_over_nothing_are_zero() -> None:
    above, below = torch.tensor([1.0, 0.0, 3.0]), torch.tensor([0.0, 0.0, 2.0])
    assert dead_free_quotient(above, below).tolist() == [0.0, 0.0, 1.5]


def test_a_stabilised_quotient_is_that_of_the_two_steps() -> None:
    above, below = torch.tensor([1.0, -2.0, 3.0, 4.0]), torch.tensor([0.0, -0.5, 2.0, -0.0])
    for epsilon in (0.0, 0.25):
        expected = dead_free_quotient(above, stabilised(below, epsilon)).masked_fill(below == 0, 0)
        assert stabilised_quotient(above, below, epsilon).tolist() == expected.tolist()


RULES: dict[str, RelevanceRule] = {
    "epsilon": Epsilon(1e-3),
    "epsilon without stabiliser": Epsilon(0.0),
    "z_plus": ZPlus(1e-3),
    "z_plus without bias": ZPlus(1e-3, zero_bias=True),
    "alpha_beta": AlphaBeta(epsilon=1e-3),
    "gamma": Gamma(epsilon=1e-3),
}
RULES_OF_SIGNS = ("z_plus", "z_plus without bias", "alpha_beta")
"""Rules with a denominator that is 0 where no contribution has its sign."""

LAYERS: dict[str, tuple[Any, Tensor]] = {
    "linear": (lambda: nn.Linear(6, 5), noise(2, 3, 6)),
    "conv": (lambda: nn.Conv2d(3, 4, 2), noise(2, 3, 4, 4)),
    "transposed": (lambda: nn.ConvTranspose1d(3, 4, 2), noise(2, 3, 4)),
    "with outputs that are dead": (lambda: nn.Conv1d(1, 2, 1, bias=False), noise(1, 1, 4).relu()),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", LAYERS)
def test_what_a_layer_keeps_is_what_it_does_not_send_back(name: str, rule: str) -> None:
    make, x = LAYERS[name]
    layer = seeded(make).double().requires_grad_(False)
    g = noise(*layer(x).shape, seed=5)
    own = RULES[rule]
    given, reached, entries = ledger_of(layer, x, g, {"conv": own, "linear": own})
    kept = {entry.reason: entry.amount for entry in entries}
    assert given - reached == pytest.approx(sum(kept.values()), rel=1e-9, abs=1e-12)
    assert ("stabiliser" in kept) == (own.epsilon > 0)
    if "dead" in name:
        assert ("dead" in kept) == (rule in RULES_OF_SIGNS)


@pytest.mark.parametrize("rule", RULES)
def test_a_ledger_runs_a_layer_as_often_as_its_backward_does(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = seeded(nn.Conv2d, 3, 4, 2).double().requires_grad_(False)
    x = noise(1, 3, 4, 4)
    own, runs, original = RULES[rule], list[int](), F.conv2d

    def counted(*args: Any) -> Tensor:
        runs.append(1)
        return original(*args)

    counts = []
    for book in (None, LedgerBook(whole=True)):
        trace = traced(layer, x, composite_of({"conv": own}), book=book)
        runs.clear()
        with monkeypatch.context() as patch:
            patch.setattr(
                "torchattr.layers.rules.relevance.affine._CONVOLUTIONS",
                {2: lambda *args, **options: counted(*args, *options.values())},
            )
            signal_of(trace, torch.ones_like(trace.output))
        counts.append(len(runs))
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize("rule", RULES)
def test_gates_of_a_layer_are_gone_when_the_layer_below_begins(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = seeded(lambda: nn.Sequential(nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Conv2d(4, 5, 2)))
    model = model.double().requires_grad_(False)
    gates, alive = list[Any](), list[int]()

    def noted(above: Tensor, below: Tensor, epsilon: float) -> Tensor:
        others = [gate for gate, shape in gates if shape != below.shape]
        alive.append(sum(gate() is not None for gate in others))
        made = stabilised_quotient(above, below, epsilon)
        gates.append((weakref.ref(made), below.shape))
        return made

    monkeypatch.setattr("torchattr.layers.rules.relevance.terms.stabilised_quotient", noted)
    x = noise(1, 3, 6, 6)
    trace = traced(model, x, composite_of({"conv": RULES[rule]}))
    trace.gradients(trace.output.flatten(1).sum(1), trace.input_edges, keep=False)
    assert len({shape for _, shape in gates}) == 2
    assert not any(alive)

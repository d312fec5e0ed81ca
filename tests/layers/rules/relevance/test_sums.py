"""Sums, joins and their stabilised forms, by explicit shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise
from relevance_oracles.engine import composite_of, ledger_of, relevance_of, traced
from torch import Tensor

import torchattr as ta
from torchattr.layers import StabilisedSum, registered_rules

pytestmark = pytest.mark.usefixtures("outputs_are_the_models_own")

X = noise(2, 4, 6, 6)
C = noise(2, 4, 6, 6, seed=2)
CHANNEL = noise(4, 1, 1, seed=3)

SUMS: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "twice": (lambda x: x + x, 0),
    "a constant": (lambda x: x + C, 1),
    "a constant first": (lambda x: C + x, 1),
    "a broadcast constant": (lambda x: x + CHANNEL, 1),
    "a broadcast input": (lambda x: x.sum(1, keepdim=True) + x, 0),
    "weighted": (lambda x: torch.add(x, 2 * x, alpha=-0.3), 0),
    "a weighted constant": (lambda x: torch.add(C, x, alpha=-0.3), 1),
    "in place": (lambda x: (2 * x).add_(x), 0),
    "in place, a constant": (lambda x: (2 * x).add_(C), 1),
    "onto a constant": (lambda x: C.clone().add_(x), 1),
    "taken off a constant, weighted": (lambda x: C.clone().sub_(x, alpha=0.3), 1),
    "a part onto a constant": (lambda x: C.clone().add_(x[:, :1]), 1),
    "joined": (lambda x: torch.cat([x, 2 * x], 1), 0),
    "joined with a constant": (lambda x: torch.cat([C, x], -2), 1),
    "joined, three": (lambda x: torch.cat([C[:, :1], x, CHANNEL.expand(2, 4, 6, 6)], dim=1), 1),
    "joined with nothing": (lambda x: torch.cat([torch.empty(0).double(), x], 1), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", SUMS)
def test_each_operand_keeps_its_share(name: str) -> None:
    function, constants = SUMS[name]
    g = noise(*function(X.clone()).shape, seed=5)
    leaf = X.clone().requires_grad_()
    (own,) = torch.autograd.grad(function(leaf), leaf, g)
    rules = {"add": "sum", "cat": "split"}
    assert_same(relevance_of(function, X, g, rules), X * own, 1e-12)
    given, reached, entries = ledger_of(function, X, g, rules)
    assert {entry.reason for entry in entries} == ({"constant"} if constants else set())
    kept = sum(entry.amount for entry in entries)
    assert abs(given - reached - kept) <= 1e-12 * (g * function(X.clone())).abs().sum()


STABLE: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "add": ("add", lambda x: x + 2 * x.flip(1)),
    "add in place": ("add", lambda x: (2 * x).add_(x).relu_()),
    "add weighted": ("add", lambda x: torch.add(x, x.flip(1), alpha=-0.5)),
    "avg_pool": ("avg_pool", lambda x: F.avg_pool2d(x, 2)),
    "avg_pool of overlaps": ("avg_pool", lambda x: F.avg_pool2d(x, 3, 2, 1)),
    "adaptive": ("adaptive_avg_pool", lambda x: F.adaptive_avg_pool2d(x, (2, 1))),
    "mean": ("mean", lambda x: x.mean((2, 3))),
    "sum": ("sum", lambda x: torch.sum(x, 1)),
}


@pytest.mark.parametrize("epsilon", [0.0, 1e-6, 0.5])
@pytest.mark.parametrize("name", STABLE)
def test_stabilised_sums_damp_their_own_output(name: str, epsilon: float) -> None:
    operation, function = STABLE[name]
    y = function(X.clone())
    g = noise(*y.shape, seed=5)
    unrectified = (2 * X).add_(X) if "in place" in name else y
    damped = g * unrectified / (unrectified + epsilon * torch.where(unrectified < 0, -1.0, 1.0))
    leaf = X.clone().requires_grad_()
    (own,) = torch.autograd.grad(function(leaf.clone()), leaf, damped)
    stabilised: Any = registered_rules()[operation, "norm"]
    rules = {operation: stabilised(epsilon), "relu": "secant"}
    assert_same(relevance_of(function, X, g, rules), X * own, 1e-10)
    given, reached, entries = ledger_of(function, X, g, rules)
    kept = sum(entry.amount for entry in entries)
    assert abs(given - reached - kept) <= 1e-12 * (g * y).abs().sum()
    assert {entry.reason for entry in entries} == ({"stabiliser"} if epsilon else set())


def test_stabilised_sum_of_nothing_passes_nothing() -> None:
    x = torch.zeros(1, 3).double()
    g = torch.ones(1, 3).double()
    found = relevance_of(lambda x: (x + 1.0) * (x + x), x, g, {"add": StabilisedSum(0.0)})
    assert not bool(found.any())


class Block(torch.nn.Module):
    """A residual block that writes its rectified sum over the sum itself."""

    def __init__(self, rectify: Callable[[Tensor], Tensor], *, beside: bool = False) -> None:
        super().__init__()
        self.rectify = rectify
        self.beside = beside
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        y = (2 * x).add_(x.flip(1))
        other = y * C if self.beside else 0.0
        return self.rectify(y) * C + other


def anew(y: Tensor) -> Tensor:
    return y.relu()


def over_itself(y: Tensor) -> Tensor:
    return y.relu_()


def bounded(y: Tensor) -> Tensor:
    return F.relu6(y, inplace=True)


def twice(y: Tensor) -> Tensor:
    return y.relu_().mul_(3.0)


@pytest.mark.parametrize("rule", ["secant", "gradient", "guided", "deconvolution"])
@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("rectify", [over_itself, bounded, twice])
def test_what_is_written_over_a_sum_changes_nothing(
    rectify: Callable[[Tensor], Tensor], beside: bool, rule: str
) -> None:
    x, g = 3 * X, noise(*X.shape, seed=5)
    rules = {"add": StabilisedSum(0.5), "relu": rule}
    plain = {over_itself: anew, bounded: F.relu6, twice: lambda y: 3.0 * y.relu()}[rectify]
    expected = relevance_of(Block(plain, beside=beside), x, g, rules)
    assert_same(relevance_of(Block(rectify, beside=beside), x, g, rules), expected, 1e-12)


@pytest.mark.parametrize("rule", ["secant", "gradient", "guided"])
def test_a_sum_that_is_only_rectified_is_not_copied(rule: str) -> None:
    composite = composite_of({"add": StabilisedSum(), "relu": rule})
    apart, written = Block(anew), Block(over_itself)
    saved: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = traced(written, X, composite).output
    traced(apart, X, composite)
    assert written.runs == apart.runs
    (of_sum,) = (
        one for one in saved if one.shape == X.shape and any(one.stride()) and one is not C
    )
    assert_same(of_sum * C, output.detach())


def test_a_sum_whose_value_is_recorded_is_copied() -> None:
    """A backward may begin there, where nothing is rectified."""
    model = torch.nn.Sequential(torch.nn.Identity(), Added(), torch.nn.ReLU(inplace=True))
    anew = torch.nn.Sequential(torch.nn.Identity(), Added(), torch.nn.ReLU())
    rules = {"add": StabilisedSum(0.5)}
    target = ta.Neuron("1", (0, 0, 0))
    found, expected = (
        ta.LRP(one, "zero", rules=rules).attribute(-X, target) for one in (model, anew)
    )
    assert bool(expected.any())
    assert_same(found, expected, 1e-12)


class Added(torch.nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return (2 * x).add_(x.flip(1))

"""What is noted of relevance that stays, and what refuses to lose it silently."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused, seeded
from relevance_oracles.engine import ledger_of, relevance_of
from torch import Tensor, nn

from torchattr.errors import CoverageWarning, NoRuleMatched
from torchattr.layers import LedgerEntry

pytestmark = pytest.mark.usefixtures("outputs_are_the_models_own")

X = noise(2, 4, 6).abs() + 0.2
RULES = {"linear": "zero", "add": "sum", "cat": "split", "mul": "halves"}


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return 3 * x**2 * grad


UNKNOWN: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "log": (torch.log, "log"),
    "logsumexp": (lambda x: x.logsumexp(1), "logsumexp"),
    "remainder": (lambda x: x % 0.3, "remainder"),
    "grid": (
        lambda x: F.grid_sample(x[:, None], x[:, :2, :4].reshape(2, 2, 2, 2), align_corners=True),
        "grid_sample",
    ),
    "in place": (lambda x: (2 * x).log_(), "log_"),
    "operator in place": (lambda x: _squared(2 * x), "pow_"),
    "several inputs": (lambda x: torch.pow(x, x), "pow"),
    "variance": (lambda x: x.var(1), "var"),
    "statistics of the batch": (
        lambda x: F.batch_norm(x, None, None, training=True, eps=0.1),
        "batch_norm",
    ),
    "a rounded quotient": (
        lambda x: torch.div(x, 0.3, rounding_mode="floor") + x,
        "div",
    ),
    "its method": (lambda x: x.div(0.3, rounding_mode="trunc") + x, "div"),
}


def _squared(x: Tensor) -> Tensor:
    x **= 2
    return x


@pytest.mark.parametrize("name", UNKNOWN)
def test_functions_that_are_not_known_are_named_and_measured(name: str) -> None:
    function, named = UNKNOWN[name]
    y = function(X)
    g = noise(*y.shape, seed=5)
    leaf = X.clone().requires_grad_()
    (own,) = torch.autograd.grad(function(leaf), leaf, g)
    given, reached, entries = ledger_of(function, X, g, RULES)
    (entry,) = (entry for entry in entries if entry.reason == "unknown")
    assert named in entry.operation
    # Neither values nor gradients are changed by the measurement.
    assert abs(given - (y * g).sum()) <= 1e-12 * (y * g).abs().sum()
    assert abs(reached - (X * own).sum()) <= 1e-12 * (X * own).abs().sum()
    assert abs(given - reached - entry.amount) <= 1e-11 * (y * g).abs().sum()
    with refused(NoRuleMatched, named, "neither linear nor has a rule", "strict"):
        relevance_of(function, X, g, RULES)
    with pytest.warns(CoverageWarning, match="neither linear nor has a rule"):
        assert_same(relevance_of(function, X, g, RULES, strict=False), X * own, 1e-12)


def test_custom_functions_are_named() -> None:
    with refused(NoRuleMatched, "the custom function Cube"):
        relevance_of(Cube.apply, X, torch.ones(1).double(), RULES)
    with pytest.warns(CoverageWarning, match="the custom function Cube"):
        relevance_of(Cube.apply, X, torch.ones(1).double(), RULES, strict=False)


CONSTANT = noise(2, 4, 6, seed=3)
LINEAR: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "difference": (lambda x: x - CONSTANT, True),
    "number": (lambda x: 1.5 - x, True),
    "add a number": (lambda x: x + 1.5, True),
    "where": (lambda x: torch.where(CONSTANT > 0, x, CONSTANT), True),
    "fill": (lambda x: x.masked_fill(CONSTANT > 0, 2.0), True),
    "fill in place": (lambda x: (2 * x).masked_fill_(CONSTANT > 0, 2.0), True),
    "pad": (lambda x: F.pad(x, (1, 1), value=3.0), True),
    "stack": (lambda x: torch.stack([x, CONSTANT]), True),
    "subtract in place": (lambda x: (2 * x).sub_(CONSTANT), True),
    "views": (lambda x: x.flatten(1).view(2, 6, 4).transpose(1, 2)[:, :, 1:].flip(2), False),
    "sums": (lambda x: x.cumsum(1).mean(2) / 3 * 2, False),
    "repeat": (lambda x: -x.repeat(1, 2, 1).roll(1, 2), False),
    "dropout": (lambda x: F.dropout(x, 0.5, training=False), False),
    "interpolate": (lambda x: F.interpolate(x, scale_factor=2.0, mode="linear"), False),
    "cast": (lambda x: x.to(torch.float64).double(), False),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_functions_keep_only_their_constants(name: str) -> None:
    function, keeps = LINEAR[name]
    y = function(X)
    g = noise(*y.shape, seed=5)
    given, reached, entries = ledger_of(function, X, g, RULES)
    kept = sum(entry.amount for entry in entries)
    assert abs(given - reached - kept) <= 1e-12 * (y * g).abs().sum()
    assert {entry.reason for entry in entries} == ({"constant"} if keeps else set())
    relevance_of(function, X, g, RULES)  # Nothing is refused.


def test_values_written_into_a_tensor_keep_their_share() -> None:
    def model(x: Tensor) -> Tensor:
        y = 2 * x
        y[:, 0] = 1.5
        return y

    g = noise(2, 4, 6, seed=5)
    given, reached, entries = ledger_of(model, X, g, RULES)
    kept = sum(entry.amount for entry in entries)
    assert abs(given - reached - kept) <= 1e-12 * (model(X) * g).abs().sum()
    expected = torch.cat([0 * X[:, :1], 2 * (X * g)[:, 1:]], 1)
    assert_same(relevance_of(model, X, g, RULES), expected, 1e-12)


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.outer = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 5))
        self.again = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.again(self.again(self.outer(x))) + 1.0


def test_entries_name_layer_operation_and_reason_from_the_score_down() -> None:
    model: Any = seeded(Nested).double().requires_grad_(False)
    g = noise(2, 4, 5, seed=5)
    given, reached, entries = ledger_of(model, X, g, RULES)
    layers = [entry.layer for entry in entries if entry.reason == "bias"]
    assert layers == ["again", "again", "outer.1", "outer.0"]
    (constant,) = (entry for entry in entries if entry.reason == "constant")
    assert (constant.layer, "add" in constant.operation) == ("", True)
    kept = sum(entry.amount for entry in entries)
    assert abs(given - reached - kept) <= 1e-12 * sum(abs(entry.amount) for entry in entries)


def test_an_entry_in_another_unit() -> None:
    entry = LedgerEntry("a", "linear", "bias", 3.0)
    assert entry.scaled(0.5) == LedgerEntry("a", "linear", "bias", 1.5)

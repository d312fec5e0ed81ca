"""Elementwise functions as secants through the origin, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise
from relevance_oracles.engine import composite_of, ledger_of, relevance_of, signal_of, traced
from torch import Tensor

from torchattr.layers import OPERATIONS

pytestmark = pytest.mark.usefixtures("outputs_are_the_models_own")

RULES = {
    name: "secant"
    for name, operation in OPERATIONS.items()
    if operation.kind in ("rectifier", "activation", "elementwise")
}
SLOPE = torch.tensor([0.3, -0.2, 1.5], dtype=torch.float64)

# The function, its value at 0 and its slope there.
FUNCTIONS: dict[str, tuple[str, Callable[[Tensor], Tensor], float, float | None]] = {
    "relu": ("relu", F.relu, 0, None),
    "relu6": ("relu", F.relu6, 0, None),
    "hardtanh": ("elementwise", F.hardtanh, 0, 1),
    "leaky_relu": ("leaky_relu", lambda x: F.leaky_relu(x, 0.2), 0, None),
    "prelu": ("prelu", lambda x: F.prelu(x, SLOPE), 0, None),
    "rrelu": ("rrelu", lambda x: F.rrelu(x, 0.1, 0.3), 0, None),
    "elu": ("elu", F.elu, 0, 1),
    "celu": ("celu", lambda x: F.celu(x, 0.7), 0, 1),
    "selu": ("selu", F.selu, 0, None),
    "gelu": ("gelu", F.gelu, 0, 0.5),
    "gelu tanh": ("gelu", lambda x: F.gelu(x, approximate="tanh"), 0, 0.5),
    "silu": ("silu", F.silu, 0, 0.5),
    "mish": ("mish", F.mish, 0, 0.6),
    "hardswish": ("hardswish", F.hardswish, 0, 0.5),
    "softplus": ("softplus", F.softplus, math.log(2), 0.5),
    "sigmoid": ("sigmoid", torch.sigmoid, 0.5, 0.25),
    "tanh": ("tanh", torch.tanh, 0, 1),
    "hardsigmoid": ("elementwise", F.hardsigmoid, 0.5, 1 / 6),
    "exp": ("elementwise", torch.exp, 1, 1),
    "square": ("elementwise", lambda x: x**2, 0, 0),
    "cosine": ("elementwise", torch.cos, 1, 0),
}

VALUES = 4 * noise(2, 3, 5)
VALUES.view(-1)[::4] = 0.0
G = noise(2, 3, 5, seed=5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_relevance_is_what_exceeds_the_value_at_zero(name: str) -> None:
    _, function, constant, _ = FUNCTIONS[name]
    expected = torch.where(VALUES == 0, 0, G * (function(VALUES) - constant))
    assert_same(relevance_of(function, VALUES, G, RULES), expected, 1e-12)


@pytest.mark.parametrize("name", [name for name, case in FUNCTIONS.items() if case[3] is not None])
def test_signal_at_zero_is_the_slope_there(name: str) -> None:
    """Visible below: a shift moves an input that is 1 to the function's 0."""
    _, function, _, slope = FUNCTIONS[name]
    x, g = torch.ones(1, 3).double(), noise(1, 3, seed=5)
    assert slope is not None
    found = relevance_of(lambda x: function(x - torch.ones(1, 3).double()) + 0 * x, x, g, RULES)
    if slope:
        # PyTorch's derivatives of celu and hardsigmoid contain constants in float32.
        assert_same(found, slope * g, 1e-7)
    else:
        assert not bool(found.any())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_value_at_zero_is_a_constant_of_the_ledger(name: str) -> None:
    _, function, constant, _ = FUNCTIONS[name]
    given, reached, entries = ledger_of(function, VALUES, G, RULES)
    amounts = [entry.amount for entry in entries]
    assert {entry.reason for entry in entries} == ({"constant"} if constant else set())
    assert abs(given - reached - sum(amounts)) <= 1e-12 * (G * function(VALUES)).abs().sum()
    if constant:
        assert abs(sum(amounts) - constant * G.sum()) <= 1e-12 * G.abs().sum()


@pytest.mark.parametrize(
    "function", [torch.log, torch.log2, torch.logit, lambda x: x.pow(VALUES.abs() - 1)]
)
def test_function_without_a_value_at_zero_is_a_gate_from_there(
    function: Callable[[Tensor], Tensor],
) -> None:
    x = VALUES.abs() / 20 + 0.3
    given, reached, entries = ledger_of(function, x, G, RULES)
    assert not entries
    assert abs(given - reached) <= 1e-12 * (G * function(x)).abs().sum()
    assert_same(relevance_of(function, x, G, RULES), G * function(x), 1e-12)


def test_signal_is_finite_where_neither_value_nor_slope_is() -> None:
    x = torch.tensor([[0.0, 4.0]], dtype=torch.float64)
    g = noise(1, 2, seed=5)
    expected = torch.tensor([[0.0, 2 * g[0, 1]]], dtype=torch.float64)
    assert_same(relevance_of(torch.sqrt, x, g, RULES), expected, 1e-12)


INVERSES: dict[str, Callable[[Tensor], Tensor]] = {
    "reciprocal": torch.reciprocal,
    "in place": lambda x: x.clone().reciprocal_(),
    "divided": lambda x: 1 / x,
    "power": lambda x: x**-1,
    "power in place": lambda x: x.clone().pow_(-1.0),
    "aten": torch.ops.aten.reciprocal,
    "root": lambda x: x.square().rsqrt(),
}


@pytest.mark.parametrize("name", INVERSES)
def test_what_divides_takes_nothing_however_it_is_written(name: str) -> None:
    inverse = INVERSES[name]
    rules = {**RULES, "mul": "halves", "div": "frozen", "reciprocal": "frozen"}
    below = 1 + VALUES.abs()

    def product(x: Tensor) -> Tensor:
        return x.flip(1) * inverse(x)

    expected = relevance_of(lambda x: x.flip(1) / x, below, G, rules)
    assert_same(relevance_of(product, below, G, rules), expected, 1e-12)
    given, reached, (entry,) = ledger_of(lambda x: x + inverse(x), below, G, rules)
    assert entry.reason == "constant"
    assert abs(given - reached - entry.amount) <= 1e-12 * (G * below).abs().sum()


BOUNDED: dict[str, Callable[[Tensor], Tensor]] = {
    "relu6": lambda x: F.relu6(2 * x, inplace=True),
    "hardtanh": lambda x: F.hardtanh(2 * x, 0.0, 0.7, inplace=True),
    "clamp": lambda x: (2 * x).clamp_(0, 0.7),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_bound_is_kept_where_a_rectifier_writes_over_its_input(name: str) -> None:
    function = BOUNDED[name]
    assert bool((function(VALUES) == function(VALUES.abs() + 9)).any())
    assert_same(relevance_of(function, VALUES, G, RULES), G * function(VALUES), 1e-12)


@pytest.mark.parametrize("layout", ["contiguous", "channels last", "transposed"])
@pytest.mark.parametrize("bound", [1.0, 0.5, 9.0])
def test_several_gradients_pass_a_bound_at_once_as_one_by_one(bound: float, layout: str) -> None:
    x = noise(2, 3, 5, 7)
    x[0, 0, 0, :2] = bound
    moved = {
        "contiguous": x,
        "channels last": x.to(memory_format=torch.channels_last),
        "transposed": x.transpose(1, 3).contiguous().transpose(1, 3),
    }[layout]
    seeds = noise(4, 2, 3, 5, 7, seed=3)
    trace = traced(lambda h: h.clamp(0, bound), moved, composite_of(RULES))
    (together,) = trace.gradients_of_several(trace.output, seeds, trace.input_edges)
    assert together is not None
    assert_same(together, seeds * torch.where(x > 0, x.clamp(max=bound) / x, 0), 1e-14)
    for seed, found in zip(seeds, together, strict=True):
        assert torch.equal(signal_of(trace, seed), found)


@pytest.mark.parametrize("layout", ["contiguous", "channels last", "transposed"])
@pytest.mark.parametrize(
    "rectify", [F.relu, torch.relu_, lambda h: torch.maximum(h, torch.zeros_like(h))]
)
def test_several_gradients_pass_a_rectifier_at_once_as_one_by_one(
    rectify: Callable[[Tensor], Tensor], layout: str
) -> None:
    """The mask is packed: 2 x 3 x 5 x 7 elements do not fill its last byte."""
    x = noise(2, 3, 5, 7)
    moved = {
        "contiguous": x,
        "channels last": x.to(memory_format=torch.channels_last),
        "transposed": x.transpose(1, 3).contiguous().transpose(1, 3),
    }[layout]
    seeds = noise(4, 2, 3, 5, 7, seed=3)
    trace = traced(lambda h: rectify(h), moved, composite_of(RULES))
    (together,) = trace.gradients_of_several(trace.output, seeds, trace.input_edges)
    assert together is not None
    assert torch.equal(together, torch.where(x > 0, seeds, 0))
    for seed, found in zip(seeds, together, strict=True):
        assert torch.equal(signal_of(trace, seed), found)


def test_closed_gate_passes_nothing_infinite() -> None:
    x = torch.tensor([[-1.0, 2.0]]).double()
    trace = traced(F.relu, x, composite_of(RULES))
    assert signal_of(trace, torch.tensor([[torch.inf, 1.0]]).double()).tolist() == [[0.0, 1.0]]


def test_every_function_here_is_its_operation() -> None:
    named = {case[0] for case in FUNCTIONS.values()}
    assert named == set(RULES)

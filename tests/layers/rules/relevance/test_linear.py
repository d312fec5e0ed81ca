"""Each rule of convolutions and linear layers against dense matrices, example by example."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused, seeded
from relevance_oracles.dense import through_layer
from relevance_oracles.engine import (
    composite_of,
    ledger_of,
    output_of,
    relevance_of,
    signal_of,
    traced,
)
from torch import Tensor, nn

from torchattr.errors import RuleError
from torchattr.layers.rules.relevance.linear import (
    AlphaBeta,
    Epsilon,
    Gamma,
    RelevanceRule,
    ZMinus,
    ZPlus,
)
from torchattr.layers.rules.relevance.terminal import Flat, WSquare, ZBox

pytestmark = pytest.mark.usefixtures("outputs_are_the_models_own")

Shape = tuple[int, ...]

LAYERS: dict[str, tuple[Callable[..., nn.Module], Shape]] = {
    "linear": (lambda **b: nn.Linear(6, 5, **b), (6,)),
    "linear of a sequence": (lambda **b: nn.Linear(6, 5, **b), (3, 6)),
    "conv1d": (lambda **b: nn.Conv1d(4, 4, 3, **b), (4, 6)),
    "conv1d strided": (lambda **b: nn.Conv1d(4, 3, 3, stride=2, padding=1, **b), (4, 7)),
    "conv2d": (lambda **b: nn.Conv2d(3, 4, (3, 2), padding=(1, 0), **b), (3, 4, 4)),
    "conv2d grouped": (lambda **b: nn.Conv2d(4, 6, 3, groups=2, padding=1, **b), (4, 3, 3)),
    "conv2d depthwise": (lambda **b: nn.Conv2d(3, 6, 2, groups=3, **b), (3, 3, 4)),
    "conv2d dilated": (lambda **b: nn.Conv2d(3, 3, 2, dilation=(2, 1), **b), (3, 4, 4)),
    "conv2d strided": (lambda **b: nn.Conv2d(3, 4, 3, stride=(2, 3), padding=1, **b), (3, 5, 5)),
    "conv2d same": (lambda **b: nn.Conv2d(3, 3, (3, 2), padding="same", **b), (3, 3, 4)),
    "conv2d same dilated": (
        lambda **b: nn.Conv2d(4, 4, 2, padding="same", dilation=2, groups=2, **b), (4, 4, 3),
    ),
    "conv2d valid": (lambda **b: nn.Conv2d(3, 4, 2, padding="valid", **b), (3, 3, 3)),
    "conv3d": (lambda **b: nn.Conv3d(2, 3, 2, padding=1, **b), (2, 2, 2, 3)),
    "transposed 1d": (
        lambda **b: nn.ConvTranspose1d(4, 4, 3, stride=2, padding=1, output_padding=1, **b), (4, 4),
    ),
    "transposed 2d grouped": (
        lambda **b: nn.ConvTranspose2d(
            4, 6, (3, 2), stride=(3, 2), padding=1, output_padding=(2, 1), groups=2, **b
        ),
        (4, 3, 2),
    ),
    "transposed 2d dilated": (
        lambda **b: nn.ConvTranspose2d(4, 2, 2, dilation=2, groups=2, **b), (4, 2, 3),
    ),
    "transposed 3d": (
        lambda **b: nn.ConvTranspose3d(2, 2, 2, stride=2, output_padding=1, **b), (2, 2, 1, 2),
    ),
}  # fmt: skip

INPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "signed": lambda x: x,
    "nonnegative": lambda x: x.abs(),
    "with zeros": lambda x: torch.where(x.abs() < 0.4, 0.0, x),
    "one of them all zero": lambda x: torch.cat([x[:1], torch.zeros_like(x[1:])]),
}

RULES: dict[str, tuple[type[RelevanceRule], dict[str, Any]]] = {
    "epsilon": (Epsilon, {}),
    "z_plus": (ZPlus, {}),
    "alpha_beta": (AlphaBeta, {"alpha": 2.0, "beta": 1.0}),
    "alpha_beta, 3.5 and 2.5": (AlphaBeta, {"alpha": 3.5, "beta": 2.5}),
    "alpha_beta, 1 and 0": (AlphaBeta, {"alpha": 1.0, "beta": 0.0}),
    "gamma": (Gamma, {"gamma": 0.25}),
    "gamma, 3": (Gamma, {"gamma": 3.0}),
    "gamma, 0": (Gamma, {"gamma": 0.0}),
    "w_square": (WSquare, {}),
    "flat": (Flat, {}),
    "z_box": (ZBox, {"low": -4.5, "high": 5.0}),
}
"""The rules with an epsilon, whose dense form has the same name and parameters."""

STABILISERS = [(1e-6, False), (1e-6, True), (0.0, False), (0.0, True), (0.3, False)]


def layer_and_input(name: str, kind: str = "signed", bias: bool = True) -> tuple[Any, Tensor]:
    make, shape = LAYERS[name]
    layer: Any = seeded(lambda: make(bias=bias)).double().requires_grad_(False)
    return layer, INPUTS[kind](noise(2, *shape))


def compare(layer: Any, x: Tensor, rule: str, epsilon: float, zero_bias: bool, **more: Any) -> None:
    """Compare one layer's relevance with the dense matrices', by their largest magnitude."""
    cls, params = RULES[rule]
    options = {**params, "epsilon": epsilon, "zero_bias": zero_bias}
    z = output_of(layer, x)
    g = noise(*z.shape, seed=5)
    own = cls(**options)
    places = {"first": own} if own.terminal else {}
    found = relevance_of(layer, x, g, {"conv": own, "linear": own}, **places)
    expected = through_layer(
        rule.split(",")[0], more.pop("alone", layer), x, z * g, **options, **more
    )
    assert_same(found, expected, 1e-10)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", LAYERS)
def test_relevance_of_a_layer(name: str, rule: str) -> None:
    layer, x = layer_and_input(name)
    compare(layer, x, rule, 1e-6, zero_bias=False)
    compare(layer, x, rule, 0.0, zero_bias=True)


@pytest.mark.parametrize(("epsilon", "zero_bias"), STABILISERS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["linear", "conv2d"])
def test_relevance_with_every_stabiliser(
    name: str, rule: str, epsilon: float, zero_bias: bool
) -> None:
    layer, x = layer_and_input(name)
    compare(layer, x, rule, epsilon, zero_bias)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["linear", "conv2d grouped", "transposed 1d"])
def test_relevance_of_inputs_of_every_sign(name: str, rule: str, kind: str, bias: bool) -> None:
    layer, x = layer_and_input(name, kind, bias)
    compare(layer, x, rule, 1e-6, zero_bias=False)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["linear", "conv2d", "transposed 1d"])
def test_a_layer_without_bias_is_one_whose_bias_is_left_out(name: str, rule: str) -> None:
    layer, x = layer_and_input(name, bias=False)
    for zero_bias in (False, True):
        compare(layer, x, rule, 1e-6, zero_bias)


def cancelling() -> tuple[Any, Tensor]:
    """Return a layer with outputs that are exactly zero, two of three from contributions."""
    layer: Any = nn.Linear(3, 5, bias=False).double().requires_grad_(False)
    rows = [[1, -1, 0], [2, 0, -1], [0, 0, 0], [0.5, -1, 0.5], [-1, -1, 0.5]]
    layer.weight.copy_(torch.tensor(rows))
    return layer, torch.tensor([[1.0, 1, 2], [1, 1, 1]], dtype=torch.float64)


@pytest.mark.parametrize("epsilon", [1e-6, 0.0])
@pytest.mark.parametrize("rule", RULES)
def test_outputs_that_are_zero_pass_nothing_and_divide_by_nothing(
    rule: str, epsilon: float
) -> None:
    layer, x = cancelling()
    assert (layer(x) == 0).sum(1).tolist() == [3, 3]
    compare(layer, x, rule, epsilon, zero_bias=False)


@pytest.mark.parametrize("zero_bias", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_a_bias_alone_keeps_relevance_that_no_input_has_a_share_in(
    rule: str, zero_bias: bool
) -> None:
    """With the input or all weights of an output at zero, `z = b`."""
    layer, x = layer_and_input("linear", "one of them all zero")
    layer.weight[1] = 0.0
    compare(layer, x, rule, 0.0, zero_bias)


# What the rules say stays at the layer.


@pytest.mark.parametrize(("epsilon", "zero_bias"), STABILISERS)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["linear", "linear of a sequence", "conv2d", "transposed 1d"])
def test_ledger_of_a_layer_sums_to_the_relevance(
    name: str, rule: str, epsilon: float, zero_bias: bool
) -> None:
    layer, x = layer_and_input(name, "with zeros")
    cls, params = RULES[rule]
    own = cls(**params, epsilon=epsilon, zero_bias=zero_bias)
    places = {"first": own} if own.terminal else {}
    g = noise(*output_of(layer, x).shape, seed=5)
    given, reached, entries = ledger_of(layer, x, g, {"conv": own, "linear": own}, **places)
    kept = sum(entry.amount for entry in entries)
    scale = given.abs() + reached.abs() + sum(abs(entry.amount) for entry in entries)
    assert abs(given - reached - kept) <= 1e-12 * scale
    reasons = {entry.reason for entry in entries if abs(entry.amount) > 1e-12 * scale}
    assert "bias" not in reasons or not (zero_bias or rule in ("flat", "z_box"))
    assert ("stabiliser" in reasons) == (epsilon > 0)


def test_ledger_names_relevance_of_outputs_to_which_nothing_contributed() -> None:
    layer: Any = nn.Linear(2, 1).double().requires_grad_(False)
    layer.weight.copy_(torch.tensor([[-1.0, -2.0]]))
    layer.bias.copy_(torch.tensor([-0.5]))
    x, g = torch.ones(1, 2).double(), torch.ones(1, 1).double()
    given, reached, (entry,) = ledger_of(layer, x, g, {"linear": ZPlus()})
    assert (given.item(), reached.item()) == (-3.5, 0.0)
    assert (entry.reason, entry.amount, entry.operation) == (
        "dead",
        -3.5,
        "torch.nn.functional.linear",
    )


def test_zero_rule_is_the_gradient_and_its_bias_keeps_its_share() -> None:
    for name in LAYERS:
        for bias in (True, False):
            layer, x = layer_and_input(name, bias=bias)
            if "same" in name:
                continue  # PyTorch warns of a copy; the gradients of both are compared elsewhere.
            g = noise(*layer(x).shape, seed=5)
            leaf = x.clone().requires_grad_()
            (own,) = torch.autograd.grad(layer(leaf), leaf, g)
            rules = {"conv": "zero", "linear": "zero"}
            assert_same(relevance_of(layer, x, g, rules), x * own, 1e-12)
            given, reached, entries = ledger_of(layer, x, g, rules)
            assert [entry.reason for entry in entries] == ["bias"] * bias
            kept = sum(entry.amount for entry in entries)
            assert abs(given - reached - kept) <= 1e-12 * (given.abs() + reached.abs() + abs(kept))


def test_functional_weights_and_reused_layers_are_each_call_for_itself() -> None:
    layer, x = layer_and_input("linear", bias=False)
    square = torch.nn.Linear(6, 6).double().requires_grad_(False)
    g = noise(2, 5, seed=5)

    def twice(x: Tensor) -> Tensor:
        return F.linear(square(square(x)), layer.weight)

    hidden = [x, square(x), square(square(x))]
    r = through_layer("epsilon", layer, hidden[2], twice(x) * g)
    for below in (hidden[1], hidden[0]):
        r = through_layer("epsilon", square, below, r)
    assert_same(relevance_of(twice, x, g, {"linear": "epsilon"}), r, 1e-10)


def test_gamma_of_zero_is_epsilon() -> None:
    layer, x = layer_and_input("conv2d")
    g = noise(*layer(x).shape, seed=5)
    both = [relevance_of(layer, x, g, {"conv": rule}) for rule in (Gamma(gamma=0.0), Epsilon())]
    assert_same(both[0], both[1], 1e-12)


def test_the_sign_of_gamma_is_that_of_the_output_with_its_bias() -> None:
    layer: Any = nn.Linear(2, 1).double().requires_grad_(False)
    layer.weight.copy_(torch.tensor([[1.0, -2.0]]))
    layer.bias.copy_(torch.tensor([3.0]))
    x, g = torch.ones(1, 2).double(), torch.ones(1, 1).double()
    rules = {"linear": Gamma(1.0, epsilon=0.0, zero_bias=True)}
    # z = 2 > 0, although the contributions sum to -1; raised they are 2 and -2: nothing is left.
    assert relevance_of(layer, x, g, rules).tolist() == [[0.0, 0.0]]
    compare(layer, torch.tensor([[1.5, 1.0]]).double(), "gamma", 0.0, zero_bias=True)


def test_several_gradients_pass_at_once_as_one_by_one() -> None:
    for rule in RULES:
        layer, x = layer_and_input("conv2d grouped")
        cls, params = RULES[rule]
        own = cls(**params)
        composite = composite_of({"conv": own}, **({"first": own} if own.terminal else {}))
        trace = traced(layer, x, composite)
        seeds = noise(3, *trace.output.shape, seed=6)
        (several,) = trace.gradients_of_several(trace.output, seeds, trace.input_edges)
        one_by_one = torch.stack([signal_of(trace, seed) for seed in seeds])
        assert several is not None
        assert_same(several, one_by_one, 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rule", RULES)
def test_lower_precision_agrees_within_its_rounding(rule: str, dtype: torch.dtype) -> None:
    layer, x = layer_and_input("conv2d", "nonnegative", bias=False)
    layer.weight.abs_()  # Nothing cancels, so each sum is as exact as its terms.
    cls, params = RULES[rule]
    own = cls(**params)
    places = {"first": own} if own.terminal else {}
    g = noise(*layer(x).shape, seed=5).abs()
    found = relevance_of(layer.to(dtype), x.to(dtype), g.to(dtype), {"conv": own}, **places)
    assert found.dtype == dtype
    layer.double()
    z = layer(x.to(dtype).double())
    expected = through_layer(rule.split(",")[0], layer, x.to(dtype).double(), z * g, **params)
    assert_same(found.double(), expected, 16 * torch.finfo(dtype).eps)


def test_channels_last_and_transposed_memory_change_nothing() -> None:
    layer, x = layer_and_input("conv2d")
    g = noise(*layer(x).shape, seed=5)
    last = x.to(memory_format=torch.channels_last)
    for rule in RULES:
        cls, params = RULES[rule]
        own = cls(**params)
        places = {"first": own} if own.terminal else {}
        expected = relevance_of(layer, x, g, {"conv": own}, **places)
        found = relevance_of(
            layer, last, g.to(memory_format=torch.channels_last), {"conv": own}, **places
        )
        assert_same(found, expected, 1e-12)
        turned = x.transpose(2, 3).contiguous().transpose(2, 3)
        assert_same(relevance_of(layer, turned, g, {"conv": own}, **places), expected, 1e-12)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"alpha": 2.0, "beta": 2.0}, ("alpha - beta must be 1", "alpha=2.0, beta=2.0")),
        ({"alpha": 0.5, "beta": -0.5}, ("beta must not be negative", "-0.5")),
        ({"alpha": -1.0, "beta": -2.0}, ("alpha must not be negative", "-1.0")),
        ({"alpha": "2", "beta": 1.0}, ("alpha must be a number", "str '2'")),
    ],
)
def test_alpha_beta_refuses_what_is_not_conserved(params: Any, words: Any) -> None:
    with refused(RuleError, *words):
        AlphaBeta(**params)


def test_gamma_refuses_a_negative_weight() -> None:
    with refused(RuleError, "gamma must not be negative", "-0.1"):
        Gamma(-0.1)


@pytest.mark.parametrize("zero_bias", [False, True])
@pytest.mark.parametrize("name", ["linear", "conv2d grouped", "transposed 1d"])
def test_z_minus_is_z_plus_of_negated_weights(name: str, zero_bias: bool) -> None:
    make, shape = LAYERS[name]
    layer, opposite = (seeded(make).double().requires_grad_(False) for _ in range(2))
    for parameter in opposite.parameters():
        parameter.neg_()
    x = noise(2, *shape)
    g = noise(*layer(x).shape, seed=3)
    rule = {"conv": ZMinus(zero_bias=zero_bias), "linear": ZMinus(zero_bias=zero_bias)}
    expected = through_layer("z_plus", opposite, x, layer(x) * g, zero_bias=zero_bias)
    assert_same(relevance_of(layer, x, g, rule), expected, 1e-10)
    named = composite_of({"conv": "z_minus", "linear": "z_minus"})
    assert type(named["conv"]) is ZMinus

"""The dense rules against layers, hand-computed cases, zennit, and what the papers promise."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from helpers import assert_same, noise, seeded
from torch import Tensor, nn

from relevance_oracles.dense import (
    RULES,
    bias_share,
    connections_of,
    dense_of,
    relevance,
    stabilised,
    through_layer,
)

Shape = tuple[int, ...]

LAYERS: dict[str, tuple[Any, Shape]] = {
    "linear": (lambda: nn.Linear(5, 4), (5,)),
    "linear on tokens": (lambda: nn.Linear(5, 4), (3, 5)),
    "linear without bias": (lambda: nn.Linear(5, 4, bias=False), (5,)),
    "conv1d": (lambda: nn.Conv1d(2, 4, 3, stride=2, padding=1, groups=2), (2, 7)),
    "conv2d": (lambda: nn.Conv2d(2, 3, (3, 2), stride=(1, 2), padding=(1, 0)), (2, 4, 5)),
    "dilated": (lambda: nn.Conv2d(2, 3, 2, dilation=2, padding="same"), (2, 4, 5)),
    "depthwise": (lambda: nn.Conv2d(3, 6, 3, padding=1, groups=3, bias=False), (3, 3, 3)),
    "conv3d": (lambda: nn.Conv3d(2, 2, 2, padding=1), (2, 2, 3, 2)),
    "transposed 1d": (lambda: nn.ConvTranspose1d(2, 3, 3, stride=2, output_padding=1), (2, 4)),
    "transposed 2d": (
        lambda: nn.ConvTranspose2d(4, 2, 3, 2, 1, output_padding=1, groups=2, dilation=2),
        (4, 3, 2),
    ),
    "transposed 3d": (lambda: nn.ConvTranspose3d(2, 2, 2, padding=1), (2, 2, 2, 3)),
    "average pool": (lambda: nn.AvgPool2d(2, padding=1), (2, 4, 4)),
}


def layer_and_input(name: str) -> tuple[nn.Module, Tensor]:
    make, shape = LAYERS[name]
    return seeded(lambda: make().double()), noise(2, *shape)


def with_norm(channels: int, norm: type[nn.Module] = nn.BatchNorm2d) -> Any:
    n: Any = norm(channels).double().eval()
    n.running_mean.copy_(noise(channels, seed=3))
    n.running_var.copy_(noise(channels, seed=4) ** 2 + 0.3)
    n.weight.data.copy_(torch.linspace(-1.5, 1.2, channels))
    n.bias.data.copy_(noise(channels, seed=5))
    return n


@pytest.mark.parametrize("name", LAYERS)
def test_matrix_and_bias_are_the_layers(name: str) -> None:
    layer, x = layer_and_input(name)
    matrix, bias = dense_of(layer, tuple(x.shape[1:]))
    assert_same(x.flatten(1) @ matrix.T + bias, layer(x).detach().flatten(1), 1e-14)


@pytest.mark.parametrize("name", ["conv2d", "depthwise", "transposed 2d"])
def test_batch_norm_with_negative_scales_is_merged(name: str) -> None:
    layer, x = layer_and_input(name)
    y = layer(x)
    norm = with_norm(y.shape[1])
    matrix, bias = dense_of(layer, tuple(x.shape[1:]), norm)
    assert_same(x.flatten(1) @ matrix.T + bias, norm(y).detach().flatten(1), 1e-13)
    plain = dense_of(layer, tuple(x.shape[1:]))[0]
    assert bool(((matrix < 0) & (plain > 0)).any())


def test_batch_norm_behind_a_linear_layer_is_merged() -> None:
    layer, x = layer_and_input("linear")
    norm = with_norm(4, nn.BatchNorm1d)
    matrix, bias = dense_of(layer, (5,), norm)
    assert_same(x @ matrix.T + bias, norm(layer(x)).detach(), 1e-13)


def test_connections_are_kept_where_a_weight_is_zero() -> None:
    layer = seeded(lambda: nn.Conv1d(1, 1, 2, padding=1))
    layer.weight.data.zero_()
    expected = torch.tensor([[1, 0], [1, 1], [0, 1]], dtype=torch.float64)
    assert torch.equal(connections_of(layer, (1, 2)), expected)


def test_sign_of_zero_is_one() -> None:
    z = torch.tensor([0.0, -0.0, 2.0, -2.0], dtype=torch.float64)
    assert stabilised(z, 0.5).tolist() == [0.5, 0.5, 2.5, -2.5]


# By hand: the shares w_ij x_i are [[2, 2], [-4, 3]], the outputs 4 + 1 = 5 and -1 - 2 = -3.

W = torch.tensor([[1.0, -2.0], [-2.0, -3.0]], dtype=torch.float64)
B = torch.tensor([1.0, -2.0], dtype=torch.float64)
X = torch.tensor([2.0, -1.0], dtype=torch.float64)
R = torch.tensor([10.0, 6.0], dtype=torch.float64)

BY_HAND: dict[str, tuple[str, dict[str, Any], list[float]]] = {
    "epsilon": ("epsilon", {}, [10 * 2 / 5 + 6 * 4 / 3, 10 * 2 / 5 - 6 * 3 / 3]),
    "epsilon, large": (
        "epsilon", {"epsilon": 1.0}, [10 * 2 / 6 + 6 * 4 / 4, 10 * 2 / 6 - 6 * 3 / 4],
    ),
    "epsilon, no bias": (
        "epsilon", {"zero_bias": True}, [10 * 2 / 4 + 6 * 4 / 1, 10 * 2 / 4 - 6 * 3 / 1],
    ),
    "z_plus": ("z_plus", {}, [10 * 2 / 5, 10 * 2 / 5 + 6 * 3 / 3]),
    "z_plus, no bias": ("z_plus", {"zero_bias": True}, [10 * 2 / 4, 10 * 2 / 4 + 6 * 3 / 3]),
    "alpha_beta": (
        "alpha_beta", {}, [2 * (10 * 2 / 5) - 6 * 4 / 6, 2 * (10 * 2 / 5 + 6 * 3 / 3)],
    ),
    "alpha_beta, 3 and 2, no bias": (
        "alpha_beta", {"alpha": 3, "beta": 2, "zero_bias": True},
        [3 * (10 * 2 / 4) - 2 * 6 * 4 / 4, 3 * (10 * 2 / 4 + 6 * 3 / 3)],
    ),
    # The first output is positive: 3, 3 and 1.5; the second is negative: -6, 3 and -3.
    "gamma": (
        "gamma", {"gamma": 0.5},
        [10 * 3 / 7.5 + 6 * 6 / 6, 10 * 3 / 7.5 - 6 * 3 / 6],
    ),
    "gamma, no bias": (
        "gamma", {"gamma": 0.5, "zero_bias": True},
        [10 * 3 / 6 + 6 * 6 / 3, 10 * 3 / 6 - 6 * 3 / 3],
    ),
    # From -3 to 3: the shares [2+3, 2+6], [-4+6, 3+9].
    "z_box": ("z_box", {"low": -3.0, "high": 3.0}, [10 * 5 / 13 + 6 * 2 / 14, 80 / 13 + 72 / 14]),
    "w_square": ("w_square", {}, [10 / 6 + 6 * 4 / 17, 10 * 4 / 6 + 6 * 9 / 17]),
    "w_square, no bias": (
        "w_square", {"zero_bias": True}, [10 / 5 + 6 * 4 / 13, 10 * 4 / 5 + 6 * 9 / 13],
    ),
    "flat": ("flat", {"connections": torch.ones(2, 2, dtype=torch.float64)}, [8.0, 8.0]),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_rules_of_a_layer_with_two_inputs_by_hand(case: str) -> None:
    rule, params, expected = BY_HAND[case]
    found = relevance(rule, W, B, X, W @ X + B, R, **{"epsilon": 0.0, **params})
    assert_same(found, torch.tensor(expected, dtype=torch.float64), 1e-15)


def test_each_rule_is_computed_by_hand() -> None:
    assert {rule for rule, _, _ in BY_HAND.values()} == set(RULES)


def test_gamma_passes_nothing_of_an_output_that_is_zero() -> None:
    x = torch.tensor([2.0, 1.0], dtype=torch.float64)
    found = relevance("gamma", W[:1], torch.zeros(1).double(), x, W[:1] @ x, R[:1])
    assert found.tolist() == [0.0, 0.0]


# What the papers promise: without bias and epsilon, all rules keep the sum.


def parameters(rule: str, layer: nn.Module, x: Tensor) -> dict[str, Any]:
    if rule == "flat":
        return {"connections": connections_of(layer, tuple(x.shape))}
    return {"low": -4.0, "high": 4.0} if rule == "z_box" else {}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["linear", "conv2d", "transposed 2d", "conv3d"])
def test_relevance_is_conserved_with_no_bias_and_no_epsilon(rule: str, name: str) -> None:
    layer, batch = layer_and_input(name)
    x = batch[0]
    matrix, bias = dense_of(layer, tuple(x.shape))
    z = matrix @ x.flatten()
    # An output all of whose shares have one sign has no denominator for the other.
    share = matrix * x.flatten()
    mixed = ((share > 0).any(1) & (share < 0).any(1)).double()
    assert mixed.sum() >= 3
    r = noise(len(bias), seed=7) * mixed
    params = {"epsilon": 0.0, **parameters(rule, layer, x)}
    found = relevance(rule, matrix, 0 * bias, x.flatten(), z, r, **params)
    assert found.sum().item() == pytest.approx(r.sum().item(), rel=1e-11)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("zero_bias", [False, True])
def test_what_the_inputs_lack_is_the_share_of_the_biases(rule: str, zero_bias: bool) -> None:
    layer, batch = layer_and_input("conv2d")
    x = batch[0]
    matrix, bias = dense_of(layer, tuple(x.shape))
    z, r = matrix @ x.flatten() + bias, noise(len(bias), seed=7)
    params = {"zero_bias": zero_bias, **parameters(rule, layer, x)}
    found = relevance(rule, matrix, bias, x.flatten(), z, r, **params)
    kept = bias_share(rule, matrix, bias, x.flatten(), z, r, **params)
    assert (found.sum() + kept.sum()).item() == pytest.approx(r.sum().item(), rel=1e-11)


# zennit's rules, on each layer that it knows.

ZENNIT: dict[str, tuple[str, tuple[Any, ...]]] = {
    "epsilon": ("Epsilon", ()),
    "z_plus": ("ZPlus", ()),
    "alpha_beta": ("AlphaBeta", (2, 1)),
    "gamma": ("Gamma", (0.25,)),
    "z_box": ("ZBox", (-4.0, 4.0)),
    "w_square": ("WSquare", ()),
    "flat": ("Flat", ()),
}
BIASLESS = ("Flat", "ZBox")
"""Rules of zennit's in which the bias is always left out."""


def by_zennit(rule: str, layer: nn.Module, x: Tensor, r: Tensor, zero_bias: bool) -> Tensor:
    rules = pytest.importorskip("zennit.rules")
    name, arguments = ZENNIT[rule]
    options = {} if name in BIASLESS else {"zero_params": ["bias"] if zero_bias else None}
    if name == "ZBox":
        arguments = tuple(torch.full_like(x, value) for value in arguments)
    hook = getattr(rules, name)(*arguments, **options)
    leaf = x.clone().requires_grad_()
    handle = hook.register(layer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (found,) = torch.autograd.grad(layer(leaf), leaf, r)
    handle.remove()
    return found


@pytest.mark.parametrize("zero_bias", [False, True])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", [name for name in LAYERS if name != "average pool"])
def test_rules_are_zennits(name: str, rule: str, zero_bias: bool) -> None:
    layer, x = layer_and_input(name)
    r = noise(*layer(x).shape, seed=7)
    params = {"low": -4.0, "high": 4.0} if rule == "z_box" else {}
    found = through_layer(rule, layer, x, r, zero_bias=zero_bias, **params)
    assert_same(found, by_zennit(rule, layer, x, r, zero_bias), 1e-9)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "flat"])
def test_rules_of_a_merged_layer_are_zennits_of_the_merged_layer(rule: str) -> None:
    layer, x = layer_and_input("conv2d")
    norm = with_norm(3)
    merged: Any = nn.Conv2d(2, 3, (3, 2), stride=(1, 2), padding=(1, 0)).double()
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    merged.weight.data = (layer.weight * scale[:, None, None, None]).detach()
    merged.bias.data = ((layer.bias - norm.running_mean) * scale + norm.bias).detach()
    r = noise(*layer(x).shape, seed=7)
    params = {"low": -4.0, "high": 4.0} if rule == "z_box" else {}
    found = through_layer(rule, layer, x, r, norm=norm, **params)
    assert_same(found, by_zennit(rule, merged, x, r, zero_bias=False), 1e-9)

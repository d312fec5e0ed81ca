"""A batch-norm behind a convolution or linear layer is a part of it, if nothing else reads it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, seeded
from relevance_oracles.dense import through_layer
from relevance_oracles.engine import ledger_of, output_of, relevance_of
from torch import Tensor, nn

from torchattr.layers.rules.relevance.linear import AlphaBeta, Epsilon, Gamma, ZPlus
from torchattr.layers.rules.relevance.terminal import Flat, WSquare, ZBox

pytestmark = pytest.mark.usefixtures("outputs_are_the_models_own")

RULES: dict[str, tuple[Any, dict[str, Any]]] = {
    "epsilon": (Epsilon, {}),
    "z_plus": (ZPlus, {}),
    "alpha_beta": (AlphaBeta, {}),
    "gamma": (Gamma, {"gamma": 0.7}),
    "w_square": (WSquare, {}),
    "flat": (Flat, {}),
    "z_box": (ZBox, {"low": -4.5, "high": 5.0}),
}

NORMS: dict[int, type[nn.Module]] = {
    2: nn.BatchNorm1d,
    3: nn.BatchNorm1d,
    4: nn.BatchNorm2d,
    5: nn.BatchNorm3d,
}

LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda b: nn.Linear(6, 5, bias=b), (6,)),
    "conv1d": (lambda b: nn.Conv1d(4, 4, 3, bias=b), (4, 6)),
    "conv2d": (lambda b: nn.Conv2d(3, 4, (3, 2), padding=1, bias=b), (3, 4, 4)),
    "conv2d grouped": (lambda b: nn.Conv2d(4, 6, 2, groups=2, bias=b), (4, 3, 3)),
    "depthwise": (lambda b: nn.Conv2d(3, 6, 2, groups=3, bias=b), (3, 3, 4)),
    "conv3d": (lambda b: nn.Conv3d(2, 3, 2, bias=b), (2, 2, 2, 3)),
    "transposed": (lambda b: nn.ConvTranspose2d(3, 4, 2, bias=b), (3, 3, 2)),
    "transposed grouped": (
        lambda b: nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2, bias=b),
        (4, 3, 2),
    ),
    "transposed 1d depthwise": (lambda b: nn.ConvTranspose1d(4, 8, 2, groups=4, bias=b), (4, 5)),
}


def norm_of(output: Tensor, affine: bool = True) -> Any:
    """Return a batch-norm in which two gammas are negative and one is zero."""
    channels = output.shape[1]
    norm: Any = NORMS[output.dim()](channels, affine=affine).double().eval().requires_grad_(False)  # type: ignore[call-arg]
    norm.running_mean.copy_(noise(channels, seed=3))
    norm.running_var.copy_(noise(channels, seed=4) ** 2 + 0.3)
    if affine:
        norm.weight.copy_(torch.linspace(-1.5, 1.2, channels))
        norm.weight[1] = 0.0
        norm.bias.copy_(noise(channels, seed=5))
    return norm


def parts(name: str, bias: bool = True, affine: bool = True) -> tuple[Any, Any, Tensor, Tensor]:
    make, shape = LAYERS[name]
    layer: Any = seeded(lambda: make(bias)).double().requires_grad_(False)
    x = noise(2, *shape)
    norm = norm_of(layer(x), affine)
    return layer, norm, x, noise(*layer(x).shape, seed=6)


def table(rule: str, **more: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    cls, params = RULES[rule]
    own = cls(**params, **more)
    rules = {"conv": own, "linear": own, "batch_norm": "affine"}
    return rules, {"first": own} if own.terminal else {}, params


@pytest.mark.parametrize("zero_bias", [False, True])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", LAYERS)
def test_merged_layer_is_one_matrix(name: str, rule: str, zero_bias: bool) -> None:
    layer, norm, x, g = parts(name)
    model = nn.Sequential(layer, norm)
    rules, places, params = table(rule, zero_bias=zero_bias)
    found = relevance_of(model, x, g, rules, **places)
    r = output_of(model, x) * g
    expected = through_layer(rule, layer, x, r, norm=norm, zero_bias=zero_bias, **params)
    assert_same(found, expected, 1e-10)


@pytest.mark.parametrize(("bias", "affine"), [(False, True), (True, False), (False, False)])
@pytest.mark.parametrize("rule", RULES)
def test_merged_layer_without_bias_or_weights_of_the_norm(
    rule: str, bias: bool, affine: bool
) -> None:
    for name in ("linear", "transposed grouped"):
        layer, norm, x, g = parts(name, bias, affine)
        model = nn.Sequential(layer, norm)
        rules, places, params = table(rule)
        found = relevance_of(model, x, g, rules, **places)
        r = output_of(model, x) * g
        assert_same(found, through_layer(rule, layer, x, r, norm=norm, **params), 1e-10)


def test_merged_layer_keeps_the_shares_of_both_biases() -> None:
    for rule in (*RULES, "zero"):
        if rule == "zero":
            rules: Any = {"conv": "zero", "linear": "zero", "batch_norm": "affine"}
            places: dict[str, Any] = {}
        else:
            rules, places, _ = table(rule)
        for name in ("linear", "conv2d", "transposed grouped"):
            for bias in (True, False):
                layer, norm, x, g = parts(name, bias)
                model = nn.Sequential(layer, norm)
                given, reached, entries = ledger_of(model, x, g, rules, **places)
                amounts = [entry.amount for entry in entries]
                scale = given.abs() + reached.abs() + sum(map(abs, amounts))
                assert abs(given - reached - sum(amounts)) <= 1e-12 * scale
                assert any(entry.reason == "bias" for entry in entries) == (
                    rule not in ("flat", "z_box")
                )


def unmerged(layer: Any, norm: Any, x: Tensor, r: Tensor) -> Tensor:
    """Return what z+ of the layer alone gives, below a batch-norm that is its gradient."""
    y = layer(x)
    z = norm(y)
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).view(1, -1, *[1] * (y.dim() - 2))
    return through_layer("z_plus", layer, x, y * scale * r / z)


Z_PLUS = {"conv": "z_plus", "linear": "z_plus", "batch_norm": "affine", "add": "sum"}


def test_norm_is_not_merged_where_something_else_reads_the_layer() -> None:
    layer, norm, x, g = parts("conv2d")

    def model(x: Tensor) -> Tensor:
        y = layer(x)
        return norm(y) + y

    y = layer(x)
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).view(1, -1, 1, 1)
    expected = through_layer("z_plus", layer, x, y * (g * scale + g))
    assert_same(relevance_of(model, x, g, Z_PLUS), expected, 1e-10)


def test_norm_of_a_sequence_is_not_merged() -> None:
    """Its channels are then not the outputs of the linear layer."""
    layer: Any = seeded(nn.Linear, 6, 5).double().requires_grad_(False)
    x = noise(2, 3, 6)
    norm = norm_of(layer(x))
    g = noise(2, 3, 5, seed=6)
    model = nn.Sequential(layer, norm)
    expected = unmerged(layer, norm, x, norm(layer(x)) * g)
    assert_same(relevance_of(model, x, g, Z_PLUS), expected, 1e-10)


def test_norm_behind_a_view_is_not_merged() -> None:
    layer: Any = seeded(nn.Linear, 6, 4).double().requires_grad_(False)
    x = noise(2, 6)
    norm = norm_of(noise(2, 2, 2))
    g = noise(2, 2, 2, seed=6)

    def model(x: Tensor) -> Tensor:
        return norm(layer(x).view(2, 2, 2))

    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).view(1, -1, 1)
    expected = through_layer("z_plus", layer, x, layer(x) * (g * scale).flatten(1))
    assert_same(relevance_of(model, x, g, Z_PLUS), expected, 1e-10)


def test_gradient_of_a_layer_does_not_merge() -> None:
    layer, norm, x, g = parts("conv2d")
    model = nn.Sequential(layer, norm)
    leaf = x.clone().requires_grad_()
    (own,) = torch.autograd.grad(model(leaf), leaf, g)
    rules = {"conv": "zero", "batch_norm": "affine"}
    assert_same(relevance_of(model, x, g, rules), x * own, 1e-12)


def test_functional_batch_norm_with_a_shift_alone_is_merged() -> None:
    layer, norm, x, g = parts("conv2d")

    def model(x: Tensor) -> Tensor:
        return F.batch_norm(layer(x), norm.running_mean, norm.running_var, None, norm.bias)

    norm.weight.fill_(1.0)
    expected = through_layer("z_plus", layer, x, model(x) * g, norm=norm)
    assert_same(relevance_of(model, x, g, Z_PLUS), expected, 1e-10)


def test_merged_layer_of_lower_precision_keeps_its_dtype() -> None:
    layer, norm, x, g = parts("conv2d", affine=False)
    model = nn.Sequential(layer, norm)
    expected = relevance_of(model, x, g, Z_PLUS)
    found = relevance_of(model.float(), x.float(), g.float(), Z_PLUS)
    assert found.dtype == torch.float32
    assert_same(found.double(), expected, 1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_norm_may_keep_more_precision_than_the_layer(rule: str) -> None:
    layer, norm, x, g = parts("conv2d")
    rules, places, _ = table(rule)
    expected = relevance_of(nn.Sequential(layer, norm), x.float().double(), g, rules, **places)
    model = nn.Sequential(layer.bfloat16(), norm.float())
    found = relevance_of(model, x.bfloat16(), g.bfloat16(), rules, **places)
    assert found.dtype == torch.bfloat16
    # Denominators that nearly cancel lose most of their digits.
    assert (
        torch.nn.functional.cosine_similarity(found.double().flatten(), expected.flatten(), 0)
        > 0.95
    )

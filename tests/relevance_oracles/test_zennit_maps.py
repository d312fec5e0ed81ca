"""zennit's maps: that they are of the model as it is, and of one layer what the rules say."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, seeded
from torch import Tensor, nn

from relevance_oracles.dense import through_layer
from relevance_oracles.zennit_maps import without_eps, zennit_maps

pytest.importorskip("zennit", reason="zennit is in the extra bench")

X = noise(2, 2, 6, 6)
LOW, HIGH = -4.0, 4.0


def network() -> Any:
    """Two convolutions and a linear layer; the batch-norms have negative scales, too."""
    model: Any = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, eps=0.1), nn.ReLU(),
            nn.Conv2d(4, 3, 2), nn.BatchNorm2d(3, eps=0.1), nn.ReLU(),
            nn.Flatten(), nn.Linear(27, 5),
        ).double()
    )  # fmt: skip
    for index, one in enumerate(part for part in model if isinstance(part, nn.BatchNorm2d)):
        one.weight.data.copy_(noise(len(one.weight), seed=10 + index))
        one.bias.data.copy_(0.3 * noise(len(one.bias), seed=20 + index))
        one.running_mean.copy_(0.2 * noise(len(one.bias), seed=30 + index))
        one.running_var.copy_(0.5 + noise(len(one.bias), seed=40 + index) ** 2)
    return model.requires_grad_(False)


COMPOSITES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "EpsilonPlus": ("z_plus", "z_plus", {}),
    "EpsilonPlusFlat": ("flat", "z_plus", {}),
    "EpsilonAlpha2Beta1": ("alpha_beta", "alpha_beta", {}),
    "EpsilonAlpha2Beta1Flat": ("flat", "alpha_beta", {}),
    "EpsilonGammaBox": ("z_box", "gamma", {"low": LOW, "high": HIGH}),
}
"""The rule of the first layer, and that of the second convolution."""


def by_layers(first: str, second: str, options: dict[str, Any], zero_bias: bool) -> Tensor:
    """Propagate through the layers, each with the batch-norm behind it, by dense rules."""
    conv1, norm1, relu, conv2, norm2, _, flatten, linear = network()
    middle = relu(norm1(conv1(X)))
    last = relu(norm2(conv2(middle)))
    r = torch.zeros(2, 5, dtype=torch.float64)
    r[:, 3] = 1.0
    r = through_layer("epsilon", linear, flatten(last), r, zero_bias=zero_bias)
    r = r.reshape(last.shape)
    r = through_layer(second, conv2, middle, r, norm2, zero_bias=zero_bias)
    return through_layer(first, conv1, X, r, norm1, zero_bias=zero_bias, **options)


@pytest.mark.parametrize("zero_bias", [False, True])
@pytest.mark.parametrize("name", COMPOSITES)
def test_composites_are_the_dense_rules_layer_by_layer(name: str, zero_bias: bool) -> None:
    first, second, options = COMPOSITES[name]
    zero_params = ["bias"] if zero_bias else None
    found = zennit_maps(network(), X, 3, name, "sequential", zero_params, **options)
    assert_same(found, by_layers(first, second, options, zero_bias), 1e-9)


def test_model_is_left_as_it_is() -> None:
    model = network()
    before = {name: one.clone() for name, one in model.state_dict().items()}
    zennit_maps(model, X, 1, "EpsilonPlus", "sequential")
    assert all(torch.equal(before[name], one) for name, one in model.state_dict().items())
    assert model[1].eps == 0.1


def test_moving_eps_to_the_variance_changes_nothing() -> None:
    model = network()
    expected = model(X)
    assert_same(without_eps(model)(X), expected, 1e-14)
    assert model[1].eps == 0.0


def test_nothing_is_lost_to_eps_of_a_merged_batch_norm() -> None:
    """An eps of 0.1 would leave each batch-norm a share of `1.1 ** -0.5`."""
    found = zennit_maps(network(), X, 3, "EpsilonPlus", "sequential", ["bias"])
    assert_same(found.sum((1, 2, 3)), torch.ones(2).double(), 1e-3)

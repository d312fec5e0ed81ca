"""Which rule serves which operation, and with which parameters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused
from relevance_networks import resnet_like
from torch import Tensor, nn
from torch.nn.utils import prune

import torchattr as ta
from torchattr.errors import RuleError
from torchattr.layers import OPERATIONS, Composite, Gamma, WSquare, ZPlus
from torchattr.layers.operations.operation import Operation
from torchattr.methods._relevance.composites import (
    ATTENTION,
    FROZEN,
    RuleSettings,
    composite_names,
    composite_of,
)

SETTINGS = RuleSettings(epsilon=1e-3, gamma=0.5, zero_bias=True, low=-1.0, high=2.0)


def of(choice: Any, model: Any = None, **options: Any) -> Composite:
    return composite_of(choice, SETTINGS, model or resnet_like(), **options)


@pytest.mark.parametrize("name", composite_names())
def test_every_name_is_a_composite_over_the_frozen_network(name: str) -> None:
    composite = of(name)
    assert set(composite) == set(FROZEN)
    terminal = composite.first is not None and composite.first.terminal
    assert terminal == name.endswith(("_flat", "_box"))
    for operation, rule in FROZEN.items():
        if operation not in ("conv", "linear"):
            assert type(composite[operation]) is type(SETTINGS.rule(rule, operation))


@pytest.mark.parametrize(
    ("name", "conv", "linear", "first"),
    [
        ("zero", "Zero", "Zero", None),
        ("epsilon_plus", "ZPlus", "Epsilon", None),
        ("epsilon_plus_flat", "ZPlus", "Epsilon", "Flat"),
        ("epsilon_alpha2_beta1", "AlphaBeta", "Epsilon", None),
        ("epsilon_alpha2_beta1_flat", "AlphaBeta", "Epsilon", "Flat"),
        ("epsilon_gamma_box", "Gamma", "Epsilon", "ZBox"),
        ("excitation_backprop", "ZPlus", "ZPlus", None),
    ],
)
def test_named_composites(name: str, conv: str, linear: str, first: str | None) -> None:
    composite = of(name)
    found = [composite["conv"], composite["linear"], composite.first]
    assert [one and type(one).__name__ for one in found] == [conv, linear, first]
    assert composite.last is None
    assert not composite.layers


def test_every_operation_of_a_gate_is_frozen() -> None:
    """An operation that is added later must not be forgotten."""
    for name, operation in OPERATIONS.items():
        if operation.kind in ("rectifier", "activation", "elementwise", "norm"):
            assert name in FROZEN
    assert set(ATTENTION) <= set(FROZEN)


def test_settings_reach_each_rule_that_has_them() -> None:
    composite: Any = of("epsilon_gamma_box")
    assert (composite["conv"].gamma, composite["conv"].epsilon) == (0.5, 1e-3)
    assert composite["conv"].zero_bias
    assert (composite["linear"].epsilon, composite["linear"].zero_bias) == (1e-3, True)
    assert (float(composite.first.low), float(composite.first.high)) == (-1.0, 2.0)
    signed: Any = of("epsilon_alpha2_beta1")["conv"]
    assert (signed.alpha, signed.beta) == (2.0, 1.0)


def test_objects_keep_their_own_settings() -> None:
    rule = Gamma(2.0, 0.1)
    composite: Any = of({"conv": rule, "first": WSquare(0.2)})
    assert composite["conv"] is rule
    assert composite.first.epsilon == 0.2


def test_kinds_come_before_the_frozen_network_and_after_single_operations() -> None:
    kind = next(name for name in {one.kind for one in OPERATIONS.values()} if name == "activation")
    members = [name for name, one in OPERATIONS.items() if one.kind == kind]
    own = dict.fromkeys(members, "secant")
    assert {type(of({kind: "secant"})[name]) for name in members} == {
        type(of(own)[name]) for name in members
    }
    composite = of({"norm": _Own(), "batch_norm": "affine"})
    assert type(composite["layer_norm"]) is _Own
    assert type(composite["batch_norm"]).__name__ == "BatchNormRelevance"
    assert isinstance(OPERATIONS["layer_norm"], Operation)


class _Own(ZPlus):
    """A rule object, which may serve any operation."""


def test_patterns_name_the_weighted_layers_among_what_they_match() -> None:
    composite = of({"layer1.*": "epsilon", "fc": "z_plus", "conv": "gamma", "linear": "epsilon"})
    assert {name: type(rule).__name__ for name, rule in composite.layers.items()} == {
        "layer1.conv1": "Epsilon",
        "layer1.conv2": "Epsilon",
        "fc": "ZPlus",
    }


def test_later_keys_replace_earlier_ones() -> None:
    composite = of({"layer1.*": "epsilon", "layer1.conv2": "z_plus"})
    assert type(composite.layers["layer1.conv2"]) is ZPlus


def test_rules_replace_those_of_the_composite_and_none_is_the_operations_own() -> None:
    composite = of("epsilon_plus", rules={"conv": "zero", "add": None})
    assert type(composite["conv"]).__name__ == "Zero"
    assert "add" not in composite


def test_the_base_holds_what_is_not_named() -> None:
    composite = of({"conv": "z_plus"}, base={**FROZEN, **ATTENTION})
    assert type(composite["softmax"]).__name__ == "SoftmaxOwn"
    assert type(of({"conv": "z_plus"})["softmax"]).__name__ == "ResultFrozen"


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("zer", ("'zer'", "'zero'")),
        (None, ("composite", "NoneType", "epsilon_plus")),
        ({"layer1": "epsilon"}, ("'layer1'", "'layer1.*'")),
        ({"bn1": "epsilon"}, ("'bn1'", "convolution or linear layer")),
        ({"layer9.*": "epsilon"}, ("'layer9.*'", "no operation")),
        ({"layer1.conv3": "epsilon"}, ("'layer1.conv3'", "'layer1.conv1'")),
        ({"last": "epsilom"}, ("'epsilom'", "'epsilon'")),
    ],
)
def test_wrong_choices_are_named(choice: Any, words: tuple[str, ...]) -> None:
    with refused(RuleError, *words):
        of(choice)


def test_functions_have_no_layers() -> None:
    with refused(RuleError, "'fc'", "no operation, kind of operations or layer"):
        of({"fc": "epsilon"}, torch.relu)
    assert not of("zero", torch.relu).layers
    assert not of("zero", nn.Linear(2, 2)).layers


# Layers by name, whatever their weights are.

TOKENS = noise(2, 5, 4)


def of_layers(model: Any, **rules: Any) -> Any:
    """Return the relevance by rules of layers, z⁺ for the others."""
    table = {"linear": "z_plus", **{name.replace("_", "."): rule for name, rule in rules.items()}}
    return ta.LRP(model, table).attribute(TOKENS, (0, 0))


def stacked() -> Any:
    torch.manual_seed(0)
    layers = [nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)]
    return nn.Sequential(*layers).double().eval()


def test_layers_that_share_a_weight_have_rules_of_their_own() -> None:
    apart = stacked()
    apart[2].load_state_dict(apart[0].state_dict())
    expected = of_layers(apart, **{"0": "epsilon", "2": "gamma"})
    tied = stacked()
    tied[2].weight, tied[2].bias = tied[0].weight, tied[0].bias
    assert_same(of_layers(tied, **{"0": "epsilon", "2": "gamma"}), expected, 1e-12)
    only = of_layers(apart, **{"0": "epsilon"})
    assert_same(of_layers(tied, **{"0": "epsilon"}), only, 1e-12)
    assert (only - expected).abs().max() > 1e-3


COMPUTED: dict[str, Any] = {
    "weight norm": nn.utils.parametrizations.weight_norm,
    "spectral norm": nn.utils.parametrizations.spectral_norm,
    "orthogonal": nn.utils.parametrizations.orthogonal,
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 3),
}


@pytest.mark.parametrize("kind", COMPUTED)
def test_layers_whose_weight_is_computed_have_their_rules(kind: str) -> None:
    computed = stacked()
    COMPUTED[kind](computed[2])
    computed.eval()
    plain = stacked()
    plain[2].weight.data.copy_(computed[2].weight.detach())
    expected = of_layers(plain, **{"2": "epsilon"})
    assert_same(of_layers(computed, **{"2": "epsilon"}), expected, 1e-12)
    assert (expected - of_layers(plain)).abs().max() > 1e-3


def test_layer_that_another_runs_for_has_the_rule_of_its_weight() -> None:
    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.inner(x, x, x, need_weights=False)[0]
            return y

    torch.manual_seed(0)
    model = Attend().double().eval()
    table = {"inner.out_proj": "epsilon", "linear": "z_plus"}
    by_name = ta.LRP(model, table).attribute(TOKENS, (0, 0))
    last = ta.LRP(model, {"last": "epsilon", "linear": "z_plus"}).attribute(TOKENS, (0, 0))
    assert_same(by_name, last, 1e-12)
    assert (by_name - of_layers(model)).abs().max() > 1e-4


class Borrowing(nn.Module):
    """Uses the weight of both its layers without running either."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.one.weight)


def test_shared_weight_of_different_rules_that_no_layer_runs_is_refused() -> None:
    model = Borrowing().double().eval()
    with refused(RuleError, "one and two", "share one weight", "outside of all layers"):
        of_layers(model, one="epsilon")
    both = of_layers(model, one="epsilon", two="epsilon")
    assert_same(both, of_layers(model, last="epsilon"), 1e-12)

"""The same numbers as Captum's LRP where these are right, and conserved relevance elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import captum.attr
import pytest
import torch
import torch.nn.functional as F
from captum.attr._utils import lrp_rules
from captum_parity import assert_parity
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

import torchattr as ta
import torchattr.captum
from torchattr.captum import LRP, LayerLRP

IMAGES = noise(2, 3, 12, 8)
POSITIVE = IMAGES.abs()

# Captum adds 1e-9 to the denominators of layers without a rule, where here is nothing to add.
DEFAULTS = 1e-6


class Sum(nn.Module):
    """Adds two tensors as a layer, as Captum wants it."""

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return one + other


class Network(nn.Module):
    """Modules that Captum has rules for, and a view between them."""

    def __init__(self, *, norm: bool = False) -> None:
        super().__init__()
        between = [nn.BatchNorm2d(6)] if norm else []
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            *between,
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.AvgPool2d(2),
            nn.Tanh(),
        )
        self.head = nn.Sequential(nn.Linear(36, 9, bias=False), nn.ReLU(), nn.Linear(9, 5))
        for module in self.features:
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean = noise(6)
                module.bias.data = noise(6, seed=2)
            elif isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
                module.rule = lrp_rules.EpsilonRule()

    def forward(self, x: Tensor) -> Any:
        return self.head(self.features(x).flatten(1))


def network(**options: Any) -> Any:
    return seeded(Network, **options).double()


RULES: dict[str, Callable[[Any], Any]] = {
    "epsilon": lambda library: library.EpsilonRule(),
    "large epsilon": lambda library: library.EpsilonRule(0.3),
    "gamma": lambda library: library.GammaRule(0.5),
    "gamma without bias": lambda library: library.GammaRule(0.5, set_bias_to_zero=True),
    "positive weights": lambda library: library.Alpha1_Beta0_Rule(),
    "positive weights without bias": lambda library: library.Alpha1_Beta0_Rule(True),
}


def with_rules(model: nn.Module, rule: Callable[[Any], Any], library: Any) -> Any:
    """Return a copy of a model whose convolutions and linear layers have a rule each."""
    model = deepcopy(model)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.rule = rule(library)
    return model


@pytest.mark.parametrize("inputs", [IMAGES, POSITIVE], ids=["signed", "positive"])
@pytest.mark.parametrize("rule", RULES)
def test_every_rule(rule: str, inputs: Tensor) -> None:
    model = with_rules(network(), RULES[rule], lrp_rules)
    expected = assert_parity("LRP", model, inputs, target=[2, 4])
    ours = with_rules(model, RULES[rule], torchattr.captum)
    found, delta = LRP(ours).attribute(inputs, [2, 4], return_convergence_delta=True)
    assert_same(found, expected)
    scores = model(inputs)[[0, 1], [2, 4]].detach()
    assert_same(scores - delta, found.sum((1, 2, 3)), 1e-12)


@pytest.mark.parametrize("kind", [nn.MaxPool2d, nn.AvgPool2d])
def test_rules_of_layers_without_weights(kind: type[nn.Module]) -> None:
    model = network()
    pool = next(module for module in model.features if isinstance(module, kind))
    undamped = LRP(model).attribute(IMAGES, 1)
    pool.rule = lrp_rules.EpsilonRule(0.2)
    damped = assert_parity("LRP", model, IMAGES, target=1)
    assert (damped - undamped).abs().max() > 0.01 * undamped.abs().max()


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2)], ids=["max", "mean"])
def test_a_network_of_pooling_alone(pool: nn.Module) -> None:
    model = nn.Sequential(pool).double()
    assert_parity("LRP", model, IMAGES, target=(1, 2, 3), tolerance=DEFAULTS)


def test_the_identity_rule_of_a_norm_and_of_a_linear_layer() -> None:
    model = network(norm=True)
    model.features[1].rule = lrp_rules.IdentityRule()
    assert_parity("LRP", model, IMAGES, target=1, tolerance=DEFAULTS)
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))).double()
    model[0].rule = lrp_rules.IdentityRule()  # type: ignore[assignment]
    found = assert_parity("LRP", model, noise(2, 6), target=1, tolerance=DEFAULTS)
    assert_same(found, LayerLRP(model, model[0]).attribute(noise(2, 6), 1), 1e-12)


def test_the_identity_rule_of_another_shape_is_refused() -> None:
    model = network()
    model.features[2].rule = lrp_rules.IdentityRule()
    with refused(ta.RuleError, "IdentityRule", "max_pool"):
        LRP(model).attribute(IMAGES, 1)


def test_a_norm_that_follows_a_convolution() -> None:
    """With ε the two are one operation for Captum, too."""
    assert_parity("LRP", network(norm=True), IMAGES, target=1, tolerance=DEFAULTS)


@pytest.mark.parametrize("rule", ["gamma", "positive weights"])
def test_weights_of_a_convolution_and_its_norm_are_weighted_together(rule: str) -> None:
    """Captum weights those of the convolution alone, whose output has another sign."""
    model = network(norm=True)
    conv, norm = model.features[0], model.features[1]
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    folded = deepcopy(model)
    folded.features[0].weight.data = (conv.weight * scale[:, None, None, None]).data
    folded.features[0].bias.data = ((conv.bias - norm.running_mean) * scale + norm.bias).data
    folded.features[1] = nn.Identity()
    for one in (model, folded):
        one.features[0].rule = RULES[rule](torchattr.captum)
    assert_same(LRP(model).attribute(IMAGES, 1), LRP(folded).attribute(IMAGES, 1), 1e-9)


@pytest.mark.parametrize("of_input", [False, True])
@pytest.mark.parametrize("layer", ["features.0", "features.2", "features.3", "head.0", "head.2"])
def test_layers(layer: str, of_input: bool) -> None:
    model = with_rules(network(), RULES["gamma"], lrp_rules)
    assert_parity(
        "LayerLRP",
        model,
        IMAGES,
        layer=layer,
        target=[1, 3],
        attribute_to_layer_input=of_input,
    )


def test_several_layers() -> None:
    model, layers = network(), ["head.0", "features.0"]
    assert len(assert_parity("LayerLRP", model, IMAGES, layer=layers, target=1)) == 2
    method = LayerLRP(model, layers)
    found, deltas = method.attribute(IMAGES, 1, return_convergence_delta=True)
    scores = model(IMAGES)[:, 1].detach()
    for one, delta in zip(found, deltas, strict=True):
        assert_same(scores - delta, one.flatten(1).sum(1), 1e-12)


def test_all_layers() -> None:
    model = network()
    found = LayerLRP(model, None).attribute(IMAGES, 1)
    layers = [*model.features, *model.head]
    expected = LayerLRP(model, layers).attribute(IMAGES, 1)
    assert len(found) == len(layers)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


def test_a_layer_that_adds_has_the_relevance_of_both_summands() -> None:
    model = _Residual(Sum()).double()
    model.add.rule = lrp_rules.EpsilonRule()  # type: ignore[assignment]
    assert_parity("LRP", model, noise(2, 4), target=1, tolerance=DEFAULTS)
    shares = LayerLRP(model, model.add).attribute(noise(2, 4), 1, attribute_to_layer_input=True)
    scores = model(noise(2, 4))[:, 1] - model.last.bias[1]
    assert_same(shares[0].sum(1) + shares[1].sum(1), scores.detach(), 1e-6)


FUNCTIONAL: dict[str, Callable[[nn.Linear, Tensor], Tensor]] = {
    "sum": lambda layer, x: x + layer(x).relu(),
    "in-place sum": lambda layer, x: layer(x).add_(x).relu_(),
    "linear": lambda layer, x: F.linear(x, layer.weight).relu(),
    "factor": lambda layer, x: 3 * layer(x).relu(),
    "mean": lambda layer, x: layer(x).relu() + x.mean(1, keepdim=True),
    "used twice": lambda layer, x: layer(layer(x).relu()).relu(),
}


@pytest.mark.parametrize("form", FUNCTIONAL)
def test_relevance_sums_to_the_score_where_captums_does_not(form: str) -> None:
    model = seeded(lambda: _Functional(FUNCTIONAL[form])).double()
    x = noise(2, 4).abs()
    found, delta = LRP(model).attribute(x, 1, return_convergence_delta=True)
    scores = model(x)[:, 1].detach()
    assert_same(found.sum(1), scores, 1e-6)
    assert_same(scores - delta, found.sum(1), 1e-12)
    assert _gives_up_or_differs(model, x, scores)


def _gives_up_or_differs(model: nn.Module, x: Tensor, scores: Tensor) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            theirs = captum.attr.LRP(deepcopy(model)).attribute(x.clone(), target=1)
        except RuntimeError:
            return True
    return bool((theirs.sum(1) - scores).abs().max() > 0.01 * scores.abs().max())


def test_two_inputs_share_in_proportion() -> None:
    model = seeded(lambda: _Pair()).double()
    one, other = noise(2, 4).abs(), 3 * noise(2, 4).abs()
    shares = LRP(model).attribute((one, other), 1)
    assert_same(shares[1], 3 * shares[0], 1e-9)
    assert_same(shares[0].sum(1) + shares[1].sum(1), model(one, other)[:, 1].detach(), 1e-6)


def test_a_further_argument() -> None:
    model = seeded(lambda: _Pair()).double()
    zeros = torch.zeros(2, 4, dtype=torch.float64)
    found = LRP(model).attribute(noise(2, 4), 1, (zeros,))
    assert_same(found, LRP(model).attribute(noise(2, 4), 1), 1e-12)


def test_rules_are_read_anew_and_the_model_keeps_them() -> None:
    """Captum removes them, so that its second call is by the default rules."""
    model = network()
    method = LRP(model)
    default = method.attribute(IMAGES, 1)
    model.features[0].rule = rule = lrp_rules.GammaRule(2.0)
    first, second = method.attribute(IMAGES, 1), method.attribute(IMAGES, 1)
    assert_same(first, second)
    assert not torch.equal(first, default)
    assert model.features[0].rule is rule


@pytest.mark.parametrize("make", [LRP, lambda model: LayerLRP(model, model.features[0])])
def test_what_is_no_rule_is_refused(make: Callable[[Any], Any]) -> None:
    model = network()
    model.features[0].rule = 1
    with refused(TypeError, "'features.0'", "EpsilonRule", "int"):
        make(model)


def test_what_is_neither_linear_nor_known_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), _Rest(), nn.Linear(4, 2))
    with refused(ta.NoRuleMatched, "conserved"):
        LRP(model).attribute(torch.rand(1, 4) + 1, 1)


def test_verbose_names_the_rule_of_each_layer(capsys: pytest.CaptureFixture[str]) -> None:
    model = network()
    first, second = model.features[:2]
    first.rule = lrp_rules.GammaRule()
    for method in (LRP(model), LayerLRP(model, first)):
        method.attribute(IMAGES, 1, verbose=True)
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"Applied GammaRule on layer features.0: {first}"
        assert lines[1] == f"Applied the default rule on layer features.1: {second}"
        assert len(lines) == 8


def test_completeness_is_announced() -> None:
    method = LRP(network())
    assert method.has_convergence_delta()
    assert method.multiplies_by_inputs
    parts = noise(2, 3), noise(2, 4)
    sums = parts[0].sum(1) + parts[1].sum(1)
    assert_same(method.compute_convergence_delta(parts, sums + 1), torch.ones_like(sums), 1e-12)


def test_noise_around_lrp() -> None:
    options: dict[str, Any] = {"target": 1, "nt_samples": 3, "stdevs": 0.1}
    model = network()
    found = torchattr.captum.NoiseTunnel(LRP(model)).attribute(IMAGES, **options)
    assert found.shape == IMAGES.shape


class _Residual(nn.Module):
    def __init__(self, add: nn.Module) -> None:
        super().__init__()
        self.first, self.second = seeded(nn.Linear, 4, 4), seeded(nn.Linear, 4, 4, seed=1)
        self.last = seeded(nn.Linear, 4, 3)
        self.add = add

    def forward(self, x: Tensor) -> Any:
        return self.last(self.add(self.second(x), self.first(x)))


class _Functional(nn.Module):
    def __init__(self, form: Callable[[nn.Linear, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4, bias=False), nn.Linear(4, 3, bias=False)
        self.form = form

    def forward(self, x: Tensor) -> Any:
        return self.last(self.form(self.first, x))


class _Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3, bias=False)

    def forward(self, one: Tensor, other: Tensor | None = None) -> Any:
        return self.layer(one if other is None else one + other)


class _Rest(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.remainder(0.3)

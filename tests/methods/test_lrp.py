"""Layer-wise relevance propagation against zennit, dense rules and its own spellings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from relevance_networks import PICTURES, SMALL, enlivened, plain_net, resnet_like, vgg_like
from relevance_oracles.dense import through_layer
from relevance_oracles.frozen import relevances
from relevance_oracles.tiny_vit import SPELLINGS, Spelling, spelled, tiny_vit
from relevance_oracles.zennit_maps import Canonizer, zennit_maps
from torch import Tensor, nn
from torchvision import models

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, NoRuleMatched, RuleError
from torchattr.layers import AlphaBeta, Epsilon, Flat, Gamma, StabilisedSum, WSquare, ZBox, ZPlus

BOUND = 1e-9
LOW, HIGH = -4.0, 4.0
COMPOSITES = {
    "epsilon_plus": "EpsilonPlus",
    "epsilon_plus_flat": "EpsilonPlusFlat",
    "epsilon_alpha2_beta1": "EpsilonAlpha2Beta1",
    "epsilon_alpha2_beta1_flat": "EpsilonAlpha2Beta1Flat",
    "epsilon_gamma_box": "EpsilonGammaBox",
    "excitation_backprop": "ExcitationBackprop",
}
STABILISED = dict.fromkeys(("add", "avg_pool", "adaptive_avg_pool"), StabilisedSum(1e-6))
"""zennit stabilises sums and average pools, too."""
ZERO_PARAMS = pytest.mark.parametrize("zero_params", [None, "bias"])


def bounds(composite: str) -> dict[str, Any]:
    return {"low": LOW, "high": HIGH} if composite == "epsilon_gamma_box" else {}


def compare_with_zennit(
    model: nn.Module,
    x: Tensor,
    composite: str,
    canonizer: Canonizer | None,
    zero_params: str | None,
) -> None:
    expected = zennit_maps(
        model, x, 3, COMPOSITES[composite], canonizer, zero_params and [zero_params],
        **bounds(composite),
    )  # fmt: skip
    method = ta.LRP(
        model, composite, zero_params=zero_params, start="one", rules=STABILISED,
        **bounds(composite),
    )  # fmt: skip
    assert_same(method.attribute(x, 3), expected, BOUND)


@ZERO_PARAMS
@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("network", SMALL)
def test_equals_zennit(network: str, composite: str, zero_params: str | None) -> None:
    pytest.importorskip("zennit", reason="zennit is in the extra bench")
    make, canonizer = SMALL[network]
    compare_with_zennit(make(), PICTURES, composite, canonizer, zero_params)


LARGE: dict[str, Canonizer | None] = {
    "vgg11": None,
    "vgg11_bn": "vgg",
    "resnet18": "resnet",
    "resnet50": "resnet",
}


@pytest.fixture(scope="module", params=LARGE)
def large(request: pytest.FixtureRequest) -> tuple[Any, Canonizer | None]:
    """One network at a time: all its tests follow one another."""
    return enlivened(seeded(models.get_model, request.param)), LARGE[request.param]


@pytest.mark.slow
@ZERO_PARAMS
@pytest.mark.parametrize("composite", COMPOSITES)
def test_large_networks_equal_zennit(
    large: tuple[Any, Canonizer | None], composite: str, zero_params: str | None
) -> None:
    pytest.importorskip("zennit", reason="zennit is in the extra bench")
    model, canonizer = large
    x = noise(2, 3, 64, 64).clamp(LOW, HIGH)
    compare_with_zennit(model, x, composite, canonizer, zero_params)


def test_without_stabilised_sums_the_difference_to_zennit_is_that_small() -> None:
    """A sum keeps its share of 1e-6 in zennit; here nothing is lost there."""
    model = resnet_like()
    plain = ta.LRP(model).attribute(PICTURES, 3)
    stabilised = ta.LRP(model, rules=STABILISED).attribute(PICTURES, 3)
    assert not torch.equal(plain, stabilised)
    assert_same(stabilised, plain, 1e-3)


# Batch-norms that pass relevance on, as zennit's do that no canonizer merges.


def normalised_first() -> nn.Module:
    """Batch-norms before and behind convolutions, the last of which is behind a linear layer."""
    return enlivened(
        seeded(
            lambda: nn.Sequential(
                nn.BatchNorm2d(3), nn.Conv2d(3, 6, 3), nn.ReLU(), nn.BatchNorm2d(6), nn.ReLU(),
                nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
                nn.Linear(64, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Linear(9, 5),
            )
        )
    )  # fmt: skip


PASSING: dict[str, Callable[[], nn.Module]] = {"behind": vgg_like, "all over": normalised_first}
PASS: Any = {"conv": "z_plus", "linear": "epsilon", "batch_norm": "pass"}


@pytest.mark.parametrize("network", PASSING)
def test_batch_norms_that_pass_relevance_on_equal_zennit(network: str) -> None:
    pytest.importorskip("zennit", reason="zennit is in the extra bench")
    # Nothing that is exactly 0 reaches the batch-norms, where relevance would be lost.
    model = softened(PASSING[network]())
    expected = zennit_maps(model, PICTURES, 3, "EpsilonPlus")
    found = ta.LRP(model, PASS, start="one", rules=STABILISED).attribute(PICTURES, 3)
    assert_same(found, expected, BOUND)
    merged = ta.LRP(model, start="one", rules=STABILISED).attribute(PICTURES, 3)
    assert (merged - expected).abs().max() > 1e-3 * expected.abs().max()


def softened(model: nn.Module) -> nn.Module:
    """Replace a rectifier that a batch-norm reads by one without zeros."""
    parts: Any = list(model)  # type: ignore[call-overload]
    for place, (part, reader) in enumerate(pairwise(parts)):
        if isinstance(part, nn.ReLU) and isinstance(reader, nn.BatchNorm2d):
            parts[place] = nn.LeakyReLU(0.2)
    return nn.Sequential(*parts)


@pytest.mark.parametrize("network", PASSING)
def test_what_a_batch_norm_does_not_pass_on_is_dead(network: str) -> None:
    model = PASSING[network]()
    for ledger in ta.LRP(model, PASS).ledgers(PICTURES, 3):
        assert abs(ledger.error) < 1e-12 * abs(ledger.score)
        of_norms = [entry for entry in ledger.entries if "batch_norm" in entry.operation]
        assert {entry.reason for entry in of_norms} <= {"dead"}
        # A rectifier's zeros, which the shift of a batch-norm makes anything of.
        lost = sum(abs(entry.amount) for entry in of_norms)
        assert (lost > 1e-6) == (network == "all over")


def test_a_rule_of_ones_own_for_batch_norms_is_used_behind_convolutions() -> None:
    class Closed(ta.LayerRule):
        def backward(self, call: Any, grad: Tensor, *saved: Tensor) -> Tensor:
            return torch.zeros_like(grad)

    found = ta.LRP(vgg_like(), rules={"batch_norm": Closed()}).attribute(PICTURES, 3)
    assert not bool(found.any())


# Composites of one's own, layer by layer.

Rule = tuple[str, dict[str, Any]]
Rules = tuple[Rule, ...]
"""The rule of each layer of `plain_net`, with its parameters."""


def by_layers(x: Tensor, target: int, *rules: Rule) -> Tensor:
    """Propagate the score through the three layers of `plain_net` by dense rules."""
    conv1, relu, conv2, _, flatten, linear = plain_net()
    middle = relu(conv1(x))
    last = relu(conv2(middle))
    scores = linear(flatten(last))
    r = torch.zeros_like(scores)
    r[:, target] = scores[:, target]
    first, second, third = rules
    r = through_layer(third[0], linear, flatten(last), r, **third[1]).reshape(last.shape)
    r = through_layer(second[0], conv2, middle, r, **second[1])
    return through_layer(first[0], conv1, x, r, **first[1])


E: Rule = ("epsilon", {})
Z: Rule = ("z_plus", {})
G: Rule = ("gamma", {"gamma": 0.25})
AB: Rule = ("alpha_beta", {})
W2: Rule = ("w_square", {})
FLAT: Rule = ("flat", {})
BOX: Rule = ("z_box", {"low": LOW, "high": HIGH})
TABLES: dict[str, tuple[Mapping[str, Any], Rules]] = {
    "operations": ({"conv": "z_plus", "linear": "epsilon"}, (Z, Z, E)),
    "operations unlike": ({"conv": "gamma", "linear": "z_plus"}, (G, G, Z)),
    "kind": ({"conv": "epsilon", "linear": "alpha_beta"}, (E, E, AB)),
    "layer": ({"conv": "z_plus", "linear": "epsilon", "0": "epsilon"}, (E, Z, E)),
    "layer before operation": ({"linear": "z_plus", "5": "epsilon", "conv": "gamma"}, (G, G, E)),
    "pattern": ({"conv": "z_plus", "linear": "epsilon", "[02]": "gamma"}, (G, G, E)),
    "first": ({"conv": "z_plus", "linear": "epsilon", "first": "w_square"}, (W2, Z, E)),
    "last": ({"conv": "z_plus", "linear": "epsilon", "last": "gamma"}, (Z, Z, G)),
    "first before layer": (
        {"conv": "z_plus", "linear": "z_plus", "0": "epsilon", "first": "flat"},
        (FLAT, Z, Z),
    ),
    "last before layer": (
        {"conv": "z_plus", "linear": "z_plus", "5": "gamma", "last": "epsilon"},
        (Z, Z, E),
    ),
    "objects": (
        {"conv": Gamma(0.7, 1e-3), "linear": Epsilon(0.2), "first": ZBox(LOW, HIGH)},
        (BOX, ("gamma", {"gamma": 0.7, "epsilon": 1e-3}), ("epsilon", {"epsilon": 0.2})),
    ),
    "objects for layers": (
        {"conv": "z_plus", "linear": "epsilon", "2": Gamma(2.0), "first": WSquare()},
        (W2, ("gamma", {"gamma": 2.0}), E),
    ),
    "zero bias of one": (
        {"conv": ZPlus(zero_bias=True), "linear": "epsilon", "first": Flat()},
        (FLAT, ("z_plus", {"zero_bias": True}), E),
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_own_tables_are_the_dense_rules_layer_by_layer(name: str) -> None:
    table, rules = TABLES[name]
    found = ta.LRP(plain_net(), table).attribute(PICTURES, 2)
    assert_same(found, by_layers(PICTURES, 2, *rules), 1e-10)


def test_parameters_reach_the_rules_that_are_named() -> None:
    found = ta.LRP(
        plain_net(), "epsilon_gamma_box", epsilon=0.01, gamma=0.5, low=LOW, high=HIGH,
        zero_params="bias",
    ).attribute(PICTURES, 2)  # fmt: skip
    common: dict[str, Any] = {"epsilon": 0.01, "zero_bias": True}
    rules: Rules = (
        ("z_box", {"low": LOW, "high": HIGH, **common}),
        ("gamma", {"gamma": 0.5, **common}),
        ("epsilon", common),
    )
    assert_same(found, by_layers(PICTURES, 2, *rules), 1e-10)


def test_bounds_may_be_tensors() -> None:
    low, high = torch.full((1, 3, 1, 1), LOW), torch.full((3, 8, 8), HIGH, dtype=torch.float64)
    found = ta.LRP(plain_net(), "epsilon_gamma_box", low=low, high=high).attribute(PICTURES, 2)
    expected = ta.LRP(plain_net(), "epsilon_gamma_box", low=LOW, high=HIGH).attribute(PICTURES, 2)
    assert_same(found, expected, 1e-14)


def test_rules_replace_those_of_the_composite() -> None:
    found = ta.LRP(plain_net(), rules={"linear": "z_plus"}).attribute(PICTURES, 2)
    assert_same(found, by_layers(PICTURES, 2, Z, Z, Z), 1e-10)


def test_a_rule_of_ones_own_may_save_other_tensors() -> None:
    """Only rules that serve calls of the same operation must save alike."""

    class Own(ta.LayerRule):
        def save(self, call: Any, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
            return x, y

        def backward(self, call: Any, grad: Tensor, *saved: Tensor) -> Any:
            x, y = saved
            assert y.shape == grad.shape
            return call.vjp(grad, x)

    found = ta.LRP(plain_net(), {"conv": Own(), "linear": "epsilon"}).attribute(PICTURES, 2)
    expected = ta.LRP(plain_net(), {"conv": "zero", "linear": "epsilon"}).attribute(PICTURES, 2)
    assert_same(found, expected, 1e-13)
    with refused(RuleError, "Own", "Epsilon", "save different tensors"):
        ta.LRP(plain_net(), {"conv": Own(), "linear": "epsilon", "0": "epsilon"})


def test_zero_is_input_times_gradient_where_activations_are_rectifiers() -> None:
    model = vgg_like()
    expected = ta.InputXGradient(model).attribute(PICTURES, 1)
    assert_same(ta.LRP(model, "zero").attribute(PICTURES, 1), expected, 1e-12)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("gamma", [0.0, 0.05, 0.25])
def test_attention_is_conservative_propagation(spelling: Spelling, gamma: float) -> None:
    model = tiny_vit()
    rule: Any = Gamma(gamma, 0.0) if gamma else "zero"
    method = ta.LRP(spelled(model, spelling), {"linear": rule, "conv": rule})
    found = method.attribute(PICTURES, [2, 0])
    for one, image, target in zip(found, PICTURES, (2, 0), strict=True):
        assert_same(one, relevances(model, image, target, "cp_lrp", gamma).input, BOUND)


# What is asked for.


def test_start_at_one_divides_by_the_score() -> None:
    model = resnet_like()
    scores = model(PICTURES)[:, 3].reshape(-1, 1, 1, 1)
    found = ta.LRP(model, start="one").attribute(PICTURES, 3)
    assert_same(found * scores, ta.LRP(model).attribute(PICTURES, 3), 1e-12)


@pytest.mark.parametrize("start", ["score", "one"])
@pytest.mark.parametrize("composite", ["epsilon_plus", "epsilon_plus_flat"])
def test_targets_are_those_asked_for_one_by_one(composite: str, start: Any) -> None:
    method = ta.LRP(resnet_like(), composite, start=start)
    one = [method.attribute(PICTURES, target) for target in range(5)]
    for targets in ([4, 1], torch.tensor([4, 1]), lambda output: output[[0, 1], [4, 1]]):
        found = method.attribute(PICTURES, targets)
        assert_same(found, torch.stack([one[4][0], one[1][1]]), 1e-12)
    several = method.attribute(PICTURES, ta.Classes(3, 0))
    assert_same(several, torch.stack([one[3], one[0]], 1), 1e-12)
    best = method.model(PICTURES).topk(2).indices
    expected = torch.stack([torch.stack([one[k][row] for k in best[row]]) for row in range(2)])
    assert_same(method.attribute(PICTURES, ta.TopK(2)), expected, 1e-12)
    assert_same(method.attribute(PICTURES), expected[:, 0], 1e-12)


@pytest.mark.parametrize("several", [False, True])
def test_neurons(several: bool) -> None:
    """The relevance of a neuron is that of the network up to it."""
    model = vgg_like()
    upto = nn.Sequential(*model[:6], nn.Flatten())
    index = (1, 2, 1)
    flat = 1 * 16 + 2 * 4 + 1
    found = ta.LRP(model).attribute(PICTURES, ta.Neuron("5", index))
    assert_same(found, ta.LRP(upto).attribute(PICTURES, flat), 1e-12)


def test_examples_do_not_touch_one_another() -> None:
    method = ta.LRP(resnet_like(), "epsilon_alpha2_beta1")
    whole = method.attribute(PICTURES, 3)
    for row in range(2):
        assert_same(whole[row : row + 1], method.attribute(PICTURES[row : row + 1], 3), 1e-13)


class Two(nn.Module):
    """A network of two inputs and an argument."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Linear(4, 6), nn.Linear(3, 6), nn.Linear(12, 3)

    def forward(self, a: Tensor, b: Tensor, scale: Tensor, power: int) -> Tensor:
        joined = torch.cat([self.a(a).relu(), self.b(b).relu() * scale[:, None] ** power], 1)
        scores: Tensor = self.head(joined)
        return scores


def test_several_inputs_and_further_arguments() -> None:
    model = enlivened(seeded(Two))
    a, b, scale = noise(2, 4), noise(2, 3, seed=2), noise(2, seed=3)
    found = ta.LRP(model).attribute((a, b), [2, 0], (scale, 2))
    scores = model(a, b, scale, 2)[[0, 1], [2, 0]]
    r = torch.zeros(2, 3, dtype=torch.float64)
    r[[0, 1], [2, 0]] = scores
    hidden = torch.cat([model.a(a).relu(), model.b(b).relu() * scale[:, None] ** 2], 1)
    r = through_layer("epsilon", model.head, hidden, r)
    assert_same(found[0], through_layer("epsilon", model.a, a, r[:, :6]), 1e-12)
    assert_same(found[1], through_layer("epsilon", model.b, b, r[:, 6:]), 1e-12)
    _, ledgers = ta.LRP(model).attribute((a, b), [2, 0], (scale, 2), return_ledger=True)
    for row, ledger in enumerate(ledgers):
        assert ledger.score == pytest.approx(scores[row].item(), rel=1e-12)
        assert ledger.inputs == pytest.approx(sum(one[row].sum().item() for one in found))
        assert abs(ledger.error) < 1e-12 * abs(ledger.score)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_gradients_change_nothing(mode: Callable[[], Any]) -> None:
    method = ta.LRP(resnet_like())
    expected = method.attribute(PICTURES, 3)
    with mode():
        found, ledgers = method.attribute(PICTURES, 3, return_ledger=True)
        assert_same(found, expected)
        assert all(abs(ledger.error) < 1e-12 for ledger in ledgers)


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("learning", [False, True])
def test_model_and_inputs_are_left_as_they_are(composite: str, learning: bool) -> None:
    model = resnet_like().requires_grad_(learning)
    x = PICTURES.clone().requires_grad_(learning)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    hooks = [dict(part._forward_hooks) for part in model.modules()]
    method = ta.LRP(model, composite, **bounds(composite))
    found, _ = method.attribute(x, 3, return_ledger=True)
    assert not found.requires_grad
    assert x.grad is None
    assert torch.equal(x.detach(), PICTURES)
    assert all(torch.equal(before[name], one) for name, one in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad == learning for parameter in model.parameters())
    assert [dict(part._forward_hooks) for part in model.modules()] == hooks
    assert not model.training


@pytest.mark.parametrize("composite", COMPOSITES)
def test_frozen_parameters_change_nothing(composite: str) -> None:
    model = resnet_like().requires_grad_(True)
    method = ta.LRP(model, composite, **bounds(composite))
    learning = method.attribute(PICTURES, 3)
    model.requires_grad_(False)
    assert_same(method.attribute(PICTURES, 3), learning, 1e-14)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.bfloat16, 0.2)])
def test_other_precisions_come_near(dtype: torch.dtype, bound: float) -> None:
    model = vgg_like()
    expected = ta.LRP(model).attribute(PICTURES, 3)
    found = ta.LRP(model.to(dtype)).attribute(PICTURES.to(dtype), 3)
    assert found.dtype == dtype
    assert_same(found.double(), expected, bound)


def test_half_precision_is_refused() -> None:
    method = ta.LRP(vgg_like().half())
    for call in (method.attribute, method.ledgers):
        with refused(InputTypeError, "inputs are float16", "bfloat16 or float32"):
            call(PICTURES.half(), 3)
    with refused(InputTypeError, "inputs are float16", "bfloat16 or float32"):
        ta.explain(vgg_like().half(), PICTURES.half(), ["lrp"], targets=3)


def test_runs_in_one_forward_beside_other_methods() -> None:
    model = vgg_like()
    forwards = []
    handle = model.register_forward_hook(lambda *given: forwards.append(1))
    methods = ["saliency", "lrp", "guided_backprop", "attn_lrp", "libra_grad"]
    found = ta.explain(model, PICTURES, methods, targets=ta.Classes(3, 1))
    handle.remove()
    assert len(forwards) == 1
    expected = {
        "lrp": ta.LRP(model),
        "attn_lrp": ta.AttnLRP(model),
        "libra_grad": ta.LibraGrad(model),
    }
    for name, method in expected.items():
        assert_same(found[name], method.attribute(PICTURES, ta.Classes(3, 1)), 1e-12)
    assert_same(found["saliency"], ta.Saliency(model).attribute(PICTURES, ta.Classes(3, 1)), 1e-12)


def test_repr_shows_what_was_chosen() -> None:
    model = plain_net()
    assert repr(ta.LRP(model, zero_params="bias", start="one", strict=False, output=0)) == (
        "LRP(Sequential, composite='epsilon_plus', zero_params='bias', start='one', output=0,"
        " strict=False)"
    )
    shown = repr(ta.LRP(model, {"conv": Gamma(0.5)}, rules={"linear": "z_plus"}))
    assert "composite={'conv': Gamma}" in shown
    assert "rules={'linear': 'z_plus'}" in shown


# What is refused.


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"composite": "epsilon_pls"}, RuleError, ("'epsilon_pls'", "'epsilon_plus'")),
        ({"composite": 3}, RuleError, ("composite", "int", "name")),
        ({"composite": {"conv": "z_pluss"}}, RuleError, ("'z_pluss'", "'conv'", "'z_plus'")),
        ({"composite": {"cnov": "z_plus"}}, RuleError, ("'cnov'", "'conv'")),
        ({"composite": {"frist": "flat"}}, RuleError, ("'frist'", "'first'")),
        ({"composite": {"7": "z_plus"}}, RuleError, ("'7'", "no operation", "layer")),
        ({"composite": {"0": "z_pluss"}}, RuleError, ("'z_pluss'", "'z_plus'")),
        ({"composite": {"first": "flt"}}, RuleError, ("'flt'", "'flat'")),
        ({"composite": {"conv": 3}}, RuleError, ("int",)),
        ({"rules": {"conv": "z_pluss"}}, RuleError, ("'z_pluss'", "'z_plus'")),
        ({"rules": {"cnov": "z_plus"}}, RuleError, ("'cnov'", "'conv'")),
        ({"rules": {"cnov": ZPlus()}}, RuleError, ("'cnov'", "'conv'")),
        ({"composite": "epsilon_gamma_box"}, RuleError, ("low and high", "z_box")),
        ({"composite": "epsilon_gamma_box", "low": 0.0}, RuleError, ("low and high", "z_box")),
        (
            {"composite": "epsilon_gamma_box", "low": 2.0, "high": 1.0},
            RuleError,
            ("low must not be above high", "2.0", "1.0"),
        ),
        (
            {"composite": "epsilon_gamma_box", "low": 0, "high": 1, "gamma": -1.0},
            RuleError,
            ("gamma must not be negative", "-1.0"),
        ),
        ({"epsilon": -1e-6}, RuleError, ("epsilon must not be negative", "-1e-06")),
        ({"epsilon": "1e-6"}, RuleError, ("epsilon must be a number", "str '1e-6'")),
        ({"epsilon": None}, RuleError, ("epsilon must be a number", "NoneType")),
        ({"epsilon": float("nan")}, RuleError, ("epsilon must be finite", "nan")),
        ({"composite": {"conv": "gamma"}, "gamma": float("inf")}, RuleError, ("finite", "inf")),
        (
            {"composite": "epsilon_gamma_box", "low": "black", "high": 1.0},
            RuleError,
            ("low must be a number or a tensor", "(1, 3, 1, 1)", "got str"),
        ),
        (
            {"composite": "epsilon_gamma_box", "low": 0.0, "high": float("nan")},
            RuleError,
            ("high must be finite", "nan"),
        ),
        ({"zero_params": "weight"}, InputError, ("zero_params", "'weight'", "'bias'")),
        ({"zero_params": ["bias", "weight"]}, InputError, ("zero_params", "'weight'", "'bias'")),
        ({"zero_params": 1}, InputError, ("zero_params", "1", "'bias'")),
        ({"start": "two"}, InputError, ("start", "'two'", "'score'", "'one'")),
    ],
)
def test_wrong_settings_are_named(options: Any, error: Any, words: tuple[str, ...]) -> None:
    with refused(error, *words):
        ta.LRP(plain_net(), **options)


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (2.0, 0.5)])
def test_alpha_minus_beta_is_one(alpha: float, beta: float) -> None:
    with refused(RuleError, "alpha - beta must be 1", f"alpha={alpha}", f"beta={beta}"):
        AlphaBeta(alpha, beta)
    with refused(RuleError, "beta must not be negative", "-0.5"):
        AlphaBeta(0.5, -0.5)


@pytest.mark.parametrize("bound", ["low", "high"])
def test_bounds_of_another_shape_are_named(bound: str) -> None:
    bounds: dict[str, Any] = {"low": -1.0, "high": 1.0}
    bounds[bound] = torch.full((7,), bounds[bound])
    method = ta.LRP(plain_net(), "epsilon_gamma_box", **bounds)
    with refused(RuleError, f"{bound} has shape (7,)", "does not broadcast", "(1, 3, 1, 1)"):
        method.attribute(noise(2, 3, 8, 8), 1)


def test_a_layer_without_weights_has_no_rule() -> None:
    """A rule that could never serve a call would change nothing, silently."""
    with refused(RuleError, "'1'", "convolution or linear layer", "'1.*'"):
        ta.LRP(plain_net(), {"conv": "z_plus", "linear": "epsilon", "1": "z_plus"})


def test_a_first_rule_needs_safe_operations_below() -> None:
    scaled = nn.Sequential(nn.BatchNorm2d(3), *plain_net()).double().eval()
    with refused(RuleError, "Flat", "batch_norm", "before the model"):
        ta.LRP(scaled, "epsilon_plus_flat").attribute(PICTURES, 2)


class Beside(nn.Module):
    """A residual sum whose shortcut is the input itself."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(x + self.inner(x))
        return scores


def test_a_first_rule_needs_the_inputs_for_itself() -> None:
    model = enlivened(seeded(Beside))
    assert ta.LRP(model).attribute(noise(2, 4), 1).any()
    with refused(RuleError, "Flat", "Tensor.add", "also reads the inputs"):
        ta.LRP(model, "epsilon_plus_flat").attribute(noise(2, 4), 1)


def test_the_first_layer_may_be_all() -> None:
    model = enlivened(seeded(nn.Linear, 4, 3))
    x = noise(2, 4)
    expected = (model(x)[:, 1:2] / 4).expand(2, 4)
    assert_same(ta.LRP(model, "epsilon_plus_flat").attribute(x, 1), expected, 1e-5)


def test_relevance_that_ends_at_a_softmax_is_refused() -> None:
    model = nn.Sequential(plain_net(), nn.Softmax(-1))
    with refused(RuleError, "no relevance reaches the inputs", "softmax", '"own"'):
        ta.LRP(model).attribute(PICTURES, 2)
    found = ta.LRP(model, rules={"softmax": "own"}).attribute(PICTURES, 2)
    assert bool(found.any())


class Unknown(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(torch.remainder(self.inner(x), 0.3))
        return scores


def test_an_unknown_operation_is_refused_or_accounted_for() -> None:
    model = enlivened(seeded(Unknown))
    x = noise(2, 4)
    with refused(NoRuleMatched, "remainder", "neither linear nor has a rule", "strict=False"):
        ta.LRP(model).attribute(x, 1)
    lenient = ta.LRP(model, strict=False)
    with pytest.warns(ta.CoverageWarning, match="remainder"):
        lenient.attribute(x, 1)
    # The ledger is what shows how much it took, so that it needs no leave.
    for ledger in (*ta.LRP(model).ledgers(x, 1), *lenient.ledgers(x, 1)):
        assert abs(ledger.error) < 1e-12
        assert abs(ledger.by_reason()["unknown"]) > 1e-3


def test_a_score_of_zero_cannot_count_as_one() -> None:
    model: Any = nn.Linear(2, 2, bias=False).double()
    model.weight.data.copy_(torch.tensor([[1.0, -1.0], [1.0, 1.0]]))
    method, x = ta.LRP(model, "zero", start="one"), torch.ones(2, 2, dtype=torch.float64)
    assert_same(method.attribute(x, 1), x / 2, 1e-12)
    for call in (method.attribute, method.ledgers):
        with refused(InputError, "start='one'", "which is 0", "start='score'"):
            call(x, 0)

"""What a rule is told of its neighbours, which rule a call gets, and that neither depends on the
spelling of the model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused, seeded
from relevance_oracles.dense import through_layer
from relevance_oracles.engine import composite_of, relevance_of, signal_of, traced
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import torchattr as ta
from torchattr.errors import RuleError
from torchattr.layers import Gamma, Trace, nodes_of, rule_table
from torchattr.layers.autograd import runs_rules
from torchattr.layers.operations.place import Place
from torchattr.layers.rules.relevance.linear import Epsilon, ZPlus

pytestmark = pytest.mark.usefixtures("outputs_are_the_models_own")

RULES = {
    "conv": "gamma",
    "linear": "z_plus",
    "relu": "secant",
    "batch_norm": "affine",
    "add": "sum",
    "cat": "split",
    "mul": "halves",
    "softmax": "frozen",
    "gelu": "secant",
}

CONV: Any = seeded(nn.Conv2d, 2, 3, 2).double().requires_grad_(False)
NEXT: Any = seeded(nn.Conv2d, 3, 2, 2, seed=2).double().requires_grad_(False)
X = noise(2, 2, 6, 6)


def places(function: Callable[[Tensor], Tensor], *operations: str, x: Tensor = X) -> list[Place]:
    """Return the places of all calls of some operations, in the order of the calls."""
    trace = traced(function, x, composite_of(RULES))
    calls = [node for node in nodes_of(trace.output) if runs_rules(node)]
    calls.sort(key=lambda node: node._sequence_nr())
    return [node.state.places[0] for node in calls if node.state.call.operation.name in operations]


NONNEGATIVE: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu of a method": lambda h: h.relu(),
    "relu in place": lambda h: h.relu_(),
    "clamp": lambda h: h.clamp(min=0),
    "relu6": F.relu6,
    "product with a mask": lambda h: h * (h > 0),
    "max pool": lambda h: F.max_pool2d(h.relu(), 2),
    "padded max pool": lambda h: F.max_pool2d(h.relu(), 2, padding=1),
    "average pool": lambda h: F.avg_pool2d(h.relu(), 2),
    "adaptive pools": lambda h: F.adaptive_avg_pool2d(F.adaptive_max_pool2d(h.relu(), 3), 2),
    "cat": lambda h: torch.cat([h.relu(), h.clamp(min=0)], 2),
    "sum of two": lambda h: h.relu() + F.relu(-h),
    "weighted sum": lambda h: torch.add(h.relu(), F.relu(-h), alpha=0.5),
    "views": lambda h: h.relu().flatten(1).view(h.shape).transpose(2, 3)[:, :, :3],
    "flip and roll": lambda h: h.relu().flip(2).roll(1, 3),
    "dropout": lambda h: F.dropout(h.relu(), 0.5, training=False),
}

SIGNED: dict[str, Callable[[Tensor], Tensor]] = {
    "nothing": lambda h: h,
    "gelu": F.gelu,
    "leaky": lambda h: F.leaky_relu(h, 0.1),
    "sum with a signed one": lambda h: h.relu() + h,
    "sum with a constant": lambda h: h.relu() - torch.ones_like(h),
    "sum with a number": lambda h: h.relu() - 0.5,
    "sum with a negative constant": lambda h: h.relu() + torch.full_like(h, -1.0),
    "difference": lambda h: torch.add(h.relu(), F.relu(-h), alpha=-1),
    "subtraction": lambda h: h.relu() - F.relu(-h),
    "cat with a constant": lambda h: torch.cat([h.relu(), -torch.ones_like(h)], 2),
    "cat with a signed one": lambda h: torch.cat([h.relu(), h], 2),
    "pad with another value": lambda h: F.pad(h.relu(), (1, 1), value=-2.0),
    "negated": lambda h: -h.relu(),
    "times a number": lambda h: h.relu() * -1.0,
    "batch norm": lambda h: F.batch_norm(h.relu(), torch.ones(3).double(), torch.ones(3).double()),
}


@pytest.mark.parametrize("name", NONNEGATIVE)
def test_inputs_known_to_be_nonnegative(name: str) -> None:
    first, second = places(lambda x: NEXT(NONNEGATIVE[name](CONV(x))), "conv")
    assert (first.nonnegative, second.nonnegative) == (False, True)


@pytest.mark.parametrize("name", SIGNED)
def test_inputs_that_may_be_negative(name: str) -> None:
    below = SIGNED[name]
    assert bool((below(CONV(X)) < 0).any())
    second = places(lambda x: NEXT(below(CONV(x))), "conv")[-1]
    assert not second.nonnegative


@pytest.mark.parametrize("name", [*NONNEGATIVE, *SIGNED])
@pytest.mark.parametrize("rule", ["z_plus", "alpha_beta", "gamma"])
def test_what_is_known_of_signs_changes_no_map(rule: str, name: str) -> None:
    """A twin whose signs are hidden behind a function that no table knows has the same map."""
    below = {**NONNEGATIVE, **SIGNED}[name]
    rules = {**RULES, "conv": rule}
    found = relevance_of(lambda x: NEXT(below(CONV(x))), X, torch.ones(1).double(), rules)
    hidden = relevance_of(
        lambda x: NEXT(torch.neg(-below(CONV(x)))), X, torch.ones(1).double(), rules
    )
    assert_same(found, hidden, 1e-12)


RECTIFIED: dict[str, Callable[[Tensor], Tensor]] = {
    "function": F.relu,
    "in place": lambda h: F.relu(h, inplace=True),
    "method in place": lambda h: h.relu_(),
    "clamp": lambda h: h.clamp(min=0),
    "maximum": lambda h: torch.maximum(h, torch.zeros_like(h)),
    "threshold": lambda h: F.threshold(h, 0.0, 0.0),
    "masked": lambda h: h * (h > 0),
}


@pytest.mark.parametrize("name", RECTIFIED)
def test_layer_whose_output_a_rectifier_alone_reads(name: str) -> None:
    of_conv, of_relu = places(lambda x: RECTIFIED[name](CONV(x)), "conv", "relu")
    assert of_relu.gates is of_conv


@pytest.mark.parametrize(
    "behind",
    [
        lambda h: F.relu6(h),
        lambda h: F.gelu(h),
        lambda h: h,
        lambda h: h.relu() + h,
        lambda h: h.flatten(1).relu(),
        lambda h: F.max_pool2d(h, 2).relu(),
    ],
    ids=["relu6", "gelu", "nothing", "a second reader", "a view between", "a pool between"],
)
def test_layer_whose_output_is_not_rectified(behind: Callable[[Tensor], Tensor]) -> None:
    of_conv, *behind_it = places(lambda x: behind(CONV(x)), "conv", "relu")
    assert all(place.gates is not of_conv for place in behind_it)


def test_norm_between_layer_and_rectifier_is_looked_through() -> None:
    norm: Any = nn.BatchNorm2d(3).double().eval().requires_grad_(False)
    of_conv, of_norm, of_relu = places(lambda x: norm(CONV(x)).relu(), "conv", "batch_norm", "relu")
    assert of_relu.gates is of_conv is of_norm.completes
    assert of_conv.norm.operation.name == "batch_norm"


@pytest.mark.parametrize("rule", ["epsilon", "z_plus", "alpha_beta", "gamma"])
def test_signal_that_begins_at_a_layer_passes_no_norm_above_it(rule: str) -> None:
    norm: Any = nn.BatchNorm2d(3).double().eval()
    nn.init.normal_(norm.weight)
    head = nn.Sequential(nn.Flatten(), nn.Linear(75, 2)).double()
    model = nn.Sequential(CONV, norm, nn.ReLU(), head)
    composite = {"conv": rule}
    for _ in range(2):
        found = ta.LRP(model, composite).attribute(X, ta.Neuron("0", (1, 2, 3)))
        alone = ta.LRP(CONV, composite).attribute(X, (1, 2, 3))
        assert_same(found, alone, 1e-12)
        assert_same(*(ta.LRP(m, composite).attribute(X, 1) for m in (model, model)), 1e-12)


@pytest.mark.parametrize("name", RECTIFIED)
@pytest.mark.parametrize("rule", ["epsilon", "z_plus", "alpha_beta", "gamma", "w_square"])
def test_output_handed_down_is_the_one_computed_again(rule: str, name: str) -> None:
    """A second reader without weight prevents that the rectifier hands its output down."""
    rules = {**RULES, "conv": rule}
    first = rule_table({"conv": rule})["conv"]
    options = {"first": first} if first.terminal else {}
    norm: Any = nn.BatchNorm2d(3).double().eval().requires_grad_(False)
    norm.weight.copy_(torch.tensor([-1.0, 0.5, 2.0]))
    norm.bias.copy_(torch.tensor([0.3, -0.5, 0.1]))
    for normed in (False, True):
        layer = nn.Sequential(CONV, norm) if normed else CONV
        g = noise(*layer(X).shape, seed=5)

        def twice_read(x: Tensor, layer: Any = layer) -> Tensor:
            h = layer(x)
            # Views: each node has one reader more, which adds nothing.
            return RECTIFIED[name](h.view(h.shape)) + h.detach() * 0

        found = relevance_of(
            lambda x, layer=layer: RECTIFIED[name](layer(x)), X, g, rules, **options
        )
        assert_same(found, relevance_of(twice_read, X, g, rules, **options), 1e-12)


HANDED: dict[str, Callable[[Tensor], Tensor]] = {
    "read by a layer": lambda h: NEXT(h.relu()),
    "read by two layers": lambda h: NEXT(h.relu_()) + NEXT(h),
    "read by a layer and a sum": lambda h: NEXT(F.pad(h.relu(), (0, 1, 0, 1))) + h.relu()[:, :2],
    "through a pool": lambda h: NEXT(F.max_pool2d(h.relu(), 2)),
    "through a padded pool": lambda h: NEXT(F.max_pool2d(h.relu(), 2, padding=1)),
    "through a sparse pool": lambda h: NEXT(F.max_pool2d(h.relu(), 2, 3)),
    "through two pools": lambda h: NEXT(F.max_pool2d(F.max_pool2d(h.relu(), 2, 2), 1)),
    "through an overlapping pool": lambda h: NEXT(F.max_pool2d(h.relu(), 3, 1)),
    "through a dilated pool": lambda h: NEXT(F.max_pool2d(h.relu(), 2, 2, dilation=2)),
    "through a pool and beside it": lambda h: (
        NEXT(F.max_pool2d(h.relu_(), 2, 1)) + NEXT(h)[:, :, :3, :3]
    ),
    "through a concatenation": lambda h: NEXT(torch.cat([h.relu(), F.relu(h.detach())], 2)),
    "through a concatenation and a pool": lambda h: NEXT(
        F.max_pool2d(torch.cat([h.relu(), F.relu(h.detach())], 2), 2)
    ),
    "through a pool and a concatenation": lambda h: NEXT(
        torch.cat([F.max_pool2d(h.relu(), 2), h[:, :, :2, :2]], 3)
    ),
    "changed beside the graph": lambda h: NEXT(_changed(h.relu())),
    "changed before the rectifier": lambda h: NEXT(_changed(h).relu()),
    "changed before a pool": lambda h: NEXT(F.max_pool2d(_changed(h.relu()), 2)),
}


def _changed(h: Tensor) -> Tensor:
    """Write over a tensor so that its graph does not know."""
    h.detach().sub_(0.2)
    return h


@pytest.mark.parametrize("name", HANDED)
@pytest.mark.parametrize("rule", ["epsilon", "z_plus", "alpha_beta", "gamma", "w_square"])
def test_output_that_a_later_call_hands_down_is_the_one_computed_again(
    rule: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = HANDED[name]
    first = rule_table({"conv": rule})["conv"]
    rules = {**RULES, "conv": "z_plus" if first.terminal else rule}
    options = {"first": first} if first.terminal else {}
    norm: Any = nn.BatchNorm2d(3).double().eval().requires_grad_(False)
    norm.weight.copy_(torch.tensor([-1.0, 0.5, 2.0]))
    for layer in (CONV, nn.Sequential(CONV, norm)):

        def function(x: Tensor, layer: Any = layer) -> Tensor:
            return above(layer(x))

        g = noise(*function(X).shape, seed=5)
        found = [relevance_of(function, X, g, rules, **options)]
        with monkeypatch.context() as patch:
            patch.setattr(Place, "hand_down", lambda place, *values: None)
            found.append(relevance_of(function, X, g, rules, **options))
        assert_same(*found, 1e-12)


@pytest.mark.parametrize(
    ("name", "handed"),
    [
        ("read by a layer", True),
        ("through a pool", True),
        ("through a concatenation", True),
        ("through an overlapping pool", False),
        ("through a pool and beside it", True),
        ("changed beside the graph", False),
        ("changed before a pool", False),
    ],
)
def test_which_outputs_are_handed_down(
    name: str, handed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[bool] = []
    leave = Place.leave

    def left(place: Place) -> None:
        if place.arrival.rectified:
            known.append(place.arrival.output is not None)
        leave(place)

    monkeypatch.setattr(Place, "leave", left)
    function = HANDED[name]
    g = torch.ones_like(function(CONV(X)))
    relevance_of(lambda x: function(CONV(x)), X, g, RULES)
    assert known == [handed]


def test_nothing_of_a_backward_stays_with_the_forward() -> None:
    trace = traced(lambda x: NEXT(CONV(x).relu()), X, composite_of(RULES))
    signal_of(trace, torch.ones(2, 2, 4, 4).double())
    assert not trace._mode.backward_state.arrivals


# Models that write over what a rule keeps.

WRITING: dict[str, Callable[[Tensor, bool], Tensor]] = {
    "a rectified value": lambda x, over: _plus(F.relu(CONV(x)), 1.0, over),
    "a sum with what was computed from it": lambda x, over: _twice_read(x, over),
    "what a layer reads": lambda x, over: _read_and_doubled(CONV(x), over),
    "what a layer reads behind a rectifier": lambda x, over: _read_and_doubled(
        CONV(x).relu(), over
    ),
    "a factor": lambda x, over: _multiplied(CONV(x), over),
    "a softmax": lambda x, over: _plus(F.softmax(CONV(x), 1), 1.0, over) * CONV(x),
    "a gelu": lambda x, over: _plus(F.gelu(CONV(x)), 1.0, over),
}


def _plus(h: Tensor, other: Tensor | float, over: bool) -> Tensor:
    if over:
        h += other
        return h
    return h + other


def _twice_read(x: Tensor, over: bool) -> Tensor:
    h = F.relu(CONV(x))
    return _plus(h, F.pad(NEXT(h), (0, 1, 0, 1, 0, 1)), over)


def _read_and_doubled(h: Tensor, over: bool) -> Tensor:
    y = F.pad(NEXT(h), (0, 1, 0, 1, 0, 1))
    return _plus(h, h.clone(), over) + y


def _multiplied(h: Tensor, over: bool) -> Tensor:
    product = h * NEXT(F.pad(h, (1, 0, 1, 0)))[:, :1]
    return _plus(h, 1.0, over) + product


@pytest.mark.parametrize("name", WRITING)
@pytest.mark.parametrize("rule", ["epsilon", "z_plus", "alpha_beta", "gamma"])
def test_model_may_write_over_what_a_rule_keeps(rule: str, name: str) -> None:
    rules = {**RULES, "conv": rule}
    function = WRITING[name]
    g = noise(2, 3, 5, 5, seed=5)
    found, expected = (
        relevance_of(lambda x, over=over: function(x, over), X, g, rules) for over in (True, False)
    )
    assert_same(found, expected, 1e-12)


def test_dependence_on_the_inputs_is_known_for_each_operand() -> None:
    constant = noise(2, 3, 5, 5, seed=4)
    (left,) = places(lambda x: constant * CONV(x), "mul")
    (right,) = places(lambda x: CONV(x) * constant, "mul")
    (both,) = places(lambda x: CONV(x) * CONV(x), "mul")
    (ended,) = places(lambda x: CONV(x) * F.softmax(CONV(x), 1), "mul")
    found = [list(place.dependent) for place in (left, right, both, ended)]
    assert found == [[False, True], [True, False], [True, True], [True, False]]
    assert Place().is_dependent(0)
    assert Place().is_dependent(5)


# Which rule a call gets.


class Shuffled(nn.Module):
    """Registers its layers in another order than it runs them, and runs one of them twice."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(4, 3)
        self.middle = nn.Linear(4, 4)
        self.first = nn.Linear(5, 4)
        self.unused = nn.Linear(5, 5)
        self.extra = nn.Parameter(torch.linspace(-1, 1, 16).view(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h = self.middle(self.middle(h))
        return self.last(F.linear(h, self.extra))


def shuffled() -> tuple[Any, Tensor, Tensor]:
    return seeded(Shuffled).double().requires_grad_(False), noise(2, 5), noise(2, 3, seed=5)


def stepwise(model: Any, x: Tensor, g: Tensor, chosen: list[tuple[str, dict[str, Any]]]) -> Tensor:
    """Propagate through the five calls of the model, by the rule of each."""
    loose: Any = nn.Linear(4, 4, bias=False).double().requires_grad_(False)
    loose.weight.copy_(model.extra)
    layers = [model.first, model.middle, model.middle, loose, model.last]
    values = [x]
    for layer in layers:
        values.append(layer(values[-1]))
    r = values[-1] * g
    for layer, value, (rule, params) in reversed(
        list(zip(layers, values[:-1], chosen, strict=True))
    ):
        r = through_layer(rule, layer, value, r, **params)
    return r


EPSILON: tuple[str, dict[str, Any]] = ("epsilon", {})


def test_first_and_last_are_those_in_execution_order() -> None:
    model, x, g = shuffled()
    chosen: Any = [("z_plus", {}), EPSILON, EPSILON, EPSILON, ("gamma", {"gamma": 0.25})]
    found = relevance_of(model, x, g, {"linear": "epsilon"}, first=ZPlus(), last=Gamma())
    assert_same(found, stepwise(model, x, g, chosen), 1e-10)


def test_layers_by_name_include_each_call_of_a_reused_one_and_functional_weights() -> None:
    model, x, g = shuffled()
    large: Any = ("epsilon", {"epsilon": 0.5})
    chosen = [EPSILON, large, large, EPSILON, EPSILON]
    layers = {"middle": Epsilon(0.5)}
    found = relevance_of(model, x, g, {"linear": "epsilon"}, layers=layers)
    assert_same(found, stepwise(model, x, g, chosen), 1e-10)

    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.held = nn.Linear(5, 3).double()

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.held.weight, self.held.bias)

    other: Any = seeded(Functional).requires_grad_(False)
    found = relevance_of(other, x, g, {"linear": "z_plus"}, layers={"held": Epsilon(0.5)})
    wanted = through_layer("epsilon", other.held, x, other(x) * g, epsilon=0.5)
    assert_same(found, wanted, 1e-10)


def test_first_comes_before_last_and_both_before_the_name() -> None:
    layer: Any = seeded(nn.Linear, 5, 3).double().requires_grad_(False)
    x, g = noise(2, 5), noise(2, 3, seed=5)
    model = nn.Sequential(layer)
    options: Any = {"first": Epsilon(0.1), "last": Epsilon(0.2), "layers": {"0": Epsilon(0.3)}}
    for epsilon, dropped in ((0.1, ()), (0.2, ("first",)), (0.3, ("first", "last"))):
        left = {name: rule for name, rule in options.items() if name not in dropped}
        found = relevance_of(model, x, g, {"linear": Epsilon(0.4)}, **left)
        wanted = through_layer("epsilon", layer, x, layer(x) * g, epsilon=epsilon)
        assert_same(found, wanted, 1e-10)


def test_calls_that_no_signal_passes_are_neither_first_nor_last() -> None:
    model, x, g = shuffled()

    def with_dead_calls(x: Tensor) -> Tensor:
        dead = model.unused(torch.ones(1, 5).double() * 0)
        y = model(x + 0 * dead.sum())
        return y + F.softmax(model.last(model.first(x)), 1).detach() * 0

    chosen: Any = [("z_plus", {}), EPSILON, EPSILON, EPSILON, ("gamma", {"gamma": 0.25})]
    rules = {"linear": "epsilon", "add": "sum", "mul": "halves"}
    found = relevance_of(with_dead_calls, x, g, rules, first=ZPlus(), last=Gamma())
    assert_same(found, stepwise(model, x, g, chosen), 1e-10)


def test_a_softmax_inside_stops_only_its_own_way() -> None:
    weights: Any = seeded(nn.Linear, 5, 5).double().requires_grad_(False)
    x, g = noise(2, 5), noise(2, 5, seed=5)
    found = relevance_of(lambda x: x * F.softmax(weights(x), 1), x, g, RULES)
    assert_same(found, x * F.softmax(weights(x), 1) * g, 1e-12)


# The same network in other words.


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4 * 2 * 2, 3)
        self.relu = nn.ReLU()

    def stage(self, h: Tensor) -> Tensor:
        return self.relu(h + self.relu(self.inner(h)))

    def forward(self, x: Tensor) -> Tensor:
        h = self.stage(self.relu(self.norm(self.conv(x))))
        return self.head(F.max_pool2d(h, 2).flatten(1))


class Checkpointed(Net):
    def stage(self, h: Tensor) -> Tensor:
        return checkpoint(super().stage, h, use_reentrant=False)  # type: ignore[no-any-return]


class InPlace(Net):
    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def stage(self, h: Tensor) -> Tensor:
        y = self.inner(h).relu_() + h
        return y.relu_()


class Functional(Net):
    def forward(self, x: Tensor) -> Tensor:
        n = self.norm
        h = F.conv2d(x, self.conv.weight, self.conv.bias, padding=1)
        h = F.batch_norm(h, n.running_mean, n.running_var, n.weight, n.bias)
        h = torch.relu(h)
        h = torch.relu(torch.add(h, F.conv2d(h, self.inner.weight, self.inner.bias, 1, 1).relu()))
        h = F.max_pool2d(h, 2).reshape(len(h), -1)
        return F.linear(h, self.head.weight, self.head.bias)


class Masked(Net):
    def __init__(self) -> None:
        super().__init__()
        self.relu = ta_mask()


def ta_mask() -> Any:
    class Mask(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * (x > 0)

    return Mask()


NETS: tuple[type[Net], ...] = (Checkpointed, InPlace, Functional, Masked)
COMPOSITES: dict[str, dict[str, Any]] = {
    "epsilon_plus": {},
    "epsilon_plus_flat": {},
    "epsilon_alpha2_beta1": {},
    "epsilon_gamma_box": {"low": -4.0, "high": 4.0},
    "excitation_backprop": {},
    "zero": {},
}
PICTURE = noise(2, 2, 4, 4)


def net(kind: type[Net] = Net) -> Any:
    model: Any = seeded(kind).double().requires_grad_(False)
    model.norm.running_mean.copy_(noise(4, seed=3) * 0.1)
    model.norm.weight.copy_(torch.tensor([-1.0, 0.5, 2.0, 1.0]))
    return model


def lrp(model: Any, composite: str, x: Tensor = PICTURE, target: Any = 1) -> Any:
    return ta.LRP(model, composite, **COMPOSITES[composite]).attribute(x, target)


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("composite", COMPOSITES)
def test_a_network_in_other_words_has_the_same_map(composite: str, kind: type[Net]) -> None:
    assert_same(lrp(net(kind), composite), lrp(net(), composite), 1e-12)


@pytest.mark.parametrize("composite", COMPOSITES)
def test_memory_formats_have_the_same_map(composite: str) -> None:
    last = PICTURE.to(memory_format=torch.channels_last)
    model = net().to(memory_format=torch.channels_last)
    assert_same(lrp(model, composite, last), lrp(net(), composite), 1e-12)


@pytest.mark.parametrize("composite", COMPOSITES)
def test_exported_and_compiled_networks_have_the_same_map(composite: str) -> None:
    exported = torch.export.export(net(), (PICTURE,)).module()
    expected = lrp(net(), composite)
    assert_same(lrp(exported, composite), expected, 1e-12)
    assert_same(lrp(torch.compile(net()), composite), expected, 1e-12)


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("kind", [Net, Checkpointed])
def test_several_targets_at_once_are_those_one_by_one(composite: str, kind: type[Net]) -> None:
    several = lrp(net(kind), composite, target=ta.Classes([0, 1, 2]))
    for number in range(3):
        assert_same(several[:, number], lrp(net(kind), composite, target=number), 1e-12)


def test_constants_are_kept_within_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    composite = "epsilon_alpha2_beta1"
    full = lrp(net(), composite, target=ta.Classes([0, 1, 2]))
    for room in (0, 600):
        monkeypatch.setattr("torchattr.layers.backward.MOST_KEPT", room)
        assert_same(lrp(net(), composite, target=ta.Classes([0, 1, 2])), full, 1e-12)
        trace = traced(net(), PICTURE, composite_of({**RULES, "conv": "alpha_beta"}))
        for _ in range(2):
            signal_of(trace, torch.ones(2, 3).double())
        kept = [
            constants
            for node in nodes_of(trace.output)
            if runs_rules(node)
            for place in node.state.places.values()
            for constants in place.kept.values()
        ]
        distinct = {id(one): one for constants in kept for one in constants}.values()
        size = sum(one.numel() * one.element_size() for one in distinct)
        assert size <= room
        assert (size > 0) == (room > 0)


def kept_by(trace: Trace) -> list[Any]:
    states = [node.state for node in nodes_of(trace.output) if runs_rules(node)]
    return [kept for state in states for kept in state.places[0].kept.values()]


def test_constants_are_kept_for_further_backwards_and_computed_once() -> None:
    trace = traced(net(), PICTURE, composite_of(RULES))
    first = signal_of(trace, torch.ones(2, 3).double())
    held = kept_by(trace)
    second = signal_of(trace, torch.ones(2, 3).double())
    assert len(held) == 3
    assert [id(kept) for kept in held] == [id(kept) for kept in kept_by(trace)]
    assert_same(second, first)


def test_tables_of_one_forward_do_not_disturb_each_other() -> None:
    model = net()
    for options in ({}, {"composite": "epsilon_gamma_box", "low": -4.0, "high": 4.0}):
        methods = {
            "lrp": ta.LRP(model, **options),
            "guided_backprop": ta.GuidedBackprop(model),
            "saliency": ta.Saliency(model),
        }
        found = ta.explain(model, PICTURE, list(methods.values()), targets=1).attributions
        assert set(found) == set(methods)
        for name, method in methods.items():
            assert_same(found[name][:, 0], method.attribute(PICTURE, 1), 1e-12)


def test_traces_of_several_tables_equal_each_alone() -> None:
    tables = [composite_of(RULES), composite_of({**RULES, "conv": "z_plus"}), {}]
    trace = Trace(net(), (PICTURE,), tables=tables, key=lambda output: output)
    scores = trace.output[:, 1]
    for _ in range(2):
        for number, table in enumerate(tables):
            (found,) = trace.gradients(scores, trace.input_edges, table=number)
            alone = Trace(net(), (PICTURE,), tables=[table], key=lambda output: output)
            (expected,) = alone.gradients(alone.output[:, 1], alone.input_edges)
            assert found is not None
            assert expected is not None
            assert_same(found, expected, 1e-12)


@pytest.mark.parametrize("composite", ["epsilon_plus", "epsilon_alpha2_beta1", "zero"])
def test_bfloat16_is_near(composite: str) -> None:
    expected = lrp(net(), composite)
    found = lrp(net().bfloat16(), composite, PICTURE.bfloat16())
    assert found.dtype == torch.bfloat16
    assert_same(found.double(), expected, 0.15)


def test_four_threads_share_a_model() -> None:
    model = net()
    expected = {name: lrp(model, name) for name in COMPOSITES}
    found: dict[str, Tensor] = {}
    names = list(COMPOSITES)[:4]

    def run(name: str) -> None:
        for _ in range(3):
            found[name] = lrp(model, name)

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        assert_same(found[name], expected[name], 1e-12)


@pytest.mark.parametrize(("alpha", "nonnegative"), [(0.5, True), (-1.0, False)])
def test_signs_are_known_through_sums_without_a_rule(alpha: float, nonnegative: bool) -> None:
    def model(x: Tensor) -> Tensor:
        h = CONV(x)
        y: Tensor = NEXT(torch.add(h.relu(), F.relu(-h), alpha=alpha))
        return y

    trace = traced(model, X, composite_of({"conv": "z_plus", "relu": "secant"}))
    calls = [node.state for node in nodes_of(trace.output) if runs_rules(node)]
    convolutions = (state for state in calls if state.call.operation.name == "conv")
    (last,) = (state for state in convolutions if state.call.shape[1] == 3)
    assert last.places[0].nonnegative == nonnegative


def test_signal_that_ends_at_a_divisor_is_refused() -> None:
    with refused(RuleError, "no relevance reaches the inputs", "ends at", "div"):
        one = torch.ones(2, 1).double()
        ta.LRP(lambda x: one / (1 + CONV(x).abs()).sum((1, 2, 3))[:, None]).attribute(X, 0)

"""Rules whose result is relevance itself: where they may stand, and what refuses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused, seeded
from relevance_oracles.dense import connections_of, dense_of, relevance, through_layer
from relevance_oracles.engine import ledger_of, relevance_of
from torch import Tensor, nn

from torchattr.errors import RuleError, TorchattrWarning
from torchattr.layers.rules.relevance.terminal import Flat, TerminalRule, WSquare, ZBox

pytestmark = pytest.mark.usefixtures("outputs_are_the_models_own")

RULES: dict[str, tuple[type[TerminalRule], dict[str, Any]]] = {
    "w_square": (WSquare, {}),
    "flat": (Flat, {}),
    "z_box": (ZBox, {"low": -4.5, "high": 5.0}),
}
NAMES = list(RULES)

BELOW = {
    "relu": "secant",
    "tanh": "secant",
    "mul": "halves",
    "add": "sum",
    "cat": "split",
    "batch_norm": "affine",
    "layer_norm": "frozen",
    "max_pool": "gradient",
    "avg_pool": "gradient",
    "softmax": "frozen",
}


def conv_and_input() -> tuple[Any, Tensor]:
    layer: Any = seeded(nn.Conv2d, 2, 3, 2).double().requires_grad_(False)
    return layer, noise(2, 2, 4, 3)


def propagated(model: Callable[[Tensor], Tensor], x: Tensor, rule: str, g: Tensor) -> Tensor:
    cls, params = RULES[rule]
    rules = {**BELOW, "conv": "zero", "linear": "zero"}
    return relevance_of(model, x, g, rules, first=cls(**params))


def expected(layer: Any, x: Tensor, rule: str, g: Tensor) -> Tensor:
    return through_layer(rule, layer, x, layer(x) * g, **RULES[rule][1])


@pytest.mark.parametrize("channel", [0, 1])
def test_values_outside_of_the_box_are_warned_of(channel: int) -> None:
    layer, x = conv_and_input()
    low, high = (x.amin((0, 2, 3), True), x.amax((0, 2, 3), True))
    g = noise(*layer(x).shape, seed=5)
    relevance_of(layer, x, g, {"conv": "zero"}, first=ZBox(low, high))
    relevance_of(layer.float(), x.float(), g.float(), {"conv": "zero"}, first=ZBox(low, high))
    high[:, channel] -= 0.01
    said = rf"low and high, here .* but 1 of {x.numel()} are outside"
    with pytest.warns(TorchattrWarning, match=said):
        relevance_of(layer.double(), x, g, {"conv": "zero"}, first=ZBox(low, high))


@pytest.mark.parametrize("rule", NAMES)
def test_an_input_of_zero_gets_its_share(rule: str) -> None:
    layer, x = conv_and_input()
    g = noise(*layer(x).shape, seed=5)
    x[:, :, 1] = 0.0
    found = propagated(layer, x, rule, g)
    assert_same(found, expected(layer, x, rule, g), 1e-10)
    assert bool((found[:, :, 1] != 0).all())


MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "flipped": lambda x: x.flip(3),
    "permuted": lambda x: x.permute(0, 1, 3, 2),
    "flattened and back": lambda x: x.flatten(1).view(x.shape),
    "rolled": lambda x: x.roll(1, 2),
    "cloned": lambda x: x.clone(),
    "contiguous": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "split and stacked": lambda x: torch.stack(x.unbind(1), 1),
    "halves joined": lambda x: torch.cat(x.chunk(2, 2), 2),
    "indexed": lambda x: x[:, [1, 0]],
    "sliced": lambda x: x[:, :, :, :],
    "dropped out": lambda x: F.dropout(x, 0.5, training=False),
}


@pytest.mark.parametrize("rule", NAMES)
@pytest.mark.parametrize("name", MOVES)
def test_moves_below_carry_relevance_to_its_place(name: str, rule: str) -> None:
    layer, x = conv_and_input()
    move = MOVES[name]
    moved = move(x)
    g = noise(*layer(moved).shape, seed=5)
    # Where each element went: relevance goes back the same way.
    positions = move(torch.arange(x.numel(), dtype=x.dtype).view(x.shape)).long().flatten()
    of_moved = expected(layer, moved, rule, g).flatten()
    wanted = torch.zeros(x.numel(), dtype=x.dtype).index_add(0, positions, of_moved)
    assert_same(propagated(lambda x: layer(move(x)), x, rule, g), wanted.view(x.shape), 1e-10)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular", 2.0])
@pytest.mark.parametrize("rule", NAMES)
def test_pads_below_keep_the_share_of_what_they_add(rule: str, mode: str | float) -> None:
    layer, x = conv_and_input()

    def pad(x: Tensor) -> Tensor:
        sides = (1, 1, 1, 0)
        if isinstance(mode, float) or mode == "zeros":
            return F.pad(x, sides, value=mode if isinstance(mode, float) else 0.0)
        return F.pad(x, sides, mode=mode)

    padded = pad(x)
    g = noise(*layer(padded).shape, seed=5)
    leaf = x.clone().requires_grad_()
    # A pad is linear but for its constant: relevance goes back through its own gradient.
    (wanted,) = torch.autograd.grad(pad(leaf), leaf, expected(layer, padded, rule, g))
    assert_same(propagated(lambda x: layer(pad(x)), x, rule, g), wanted, 1e-10)


PADDED: dict[str, Any] = {
    "circular": lambda x: F.pad(x, (2, 1, -1, 2), mode="circular"),
    "circular twice": lambda x: F.pad(
        F.pad(x, (1, 1, 1, 1), mode="circular").flip(2), (1, 0, 1, 1), "circular"
    ),
    "circular of aten": lambda x: torch.ops.aten._pad_circular(x, [1, 2, 0, 1]),
    "reflect": lambda x: F.pad(x, (2, 1, 1, 2), mode="reflect"),
    "replicate": lambda x: F.pad(x, (2, 1, 1, 2), mode="replicate"),
}


@pytest.mark.parametrize("rule", NAMES)
@pytest.mark.parametrize("name", PADDED)
def test_copies_below_are_summed_at_their_source(name: str, rule: str) -> None:
    layer, x = conv_and_input()
    pad = PADDED[name]
    # Which element each one is a copy of, as a dense matrix.
    sources = pad(torch.arange(float(x.numel())).view(x.shape)).long().flatten()
    matrix = F.one_hot(sources, x.numel()).to(x)
    padded = pad(x)
    g = noise(*layer(padded).shape, seed=5)
    wanted = expected(layer, padded, rule, g).flatten() @ matrix
    found = propagated(lambda x: layer(pad(x)), x, rule, g)
    assert_same(found, wanted.view(x.shape), 1e-10)


ADDED: dict[str, Callable[[Tensor], Tensor]] = {
    "zeros": lambda x: F.pad(x, (1, 1, 1, 0)),
    "a value": lambda x: F.pad(x, (1, 1, 1, 0), value=2.0),
    "copies": lambda x: F.pad(x, (1, 1, 1, 0), mode="circular"),
    "a joined constant": lambda x: torch.cat([x, torch.ones(2, 2, 4, 1).double()], 3),
    "a stacked constant": lambda x: torch.stack([x[:, 0], torch.ones(2, 4, 3).double()], 1),
    "another joined constant": lambda x: torch.cat([torch.zeros_like(x)[:, :, :1], x], 2),
}


@pytest.mark.parametrize("rule", NAMES)
@pytest.mark.parametrize("name", ADDED)
def test_relevance_of_what_is_added_below_is_in_the_ledger(name: str, rule: str) -> None:
    layer, x = conv_and_input()
    g = noise(*layer(ADDED[name](x)).shape, seed=5)
    rules = {**BELOW, "conv": "zero"}
    cls, params = RULES[rule]
    given, reached, entries = ledger_of(
        lambda x: layer(ADDED[name](x)), x, g, rules, first=cls(**params)
    )
    kept = sum(entry.amount for entry in entries)
    scale = sum(abs(entry.amount) for entry in entries) + given.abs() + reached.abs()
    assert abs(given - reached - kept) <= 1e-10 * scale
    assert any(entry.reason == "constant" for entry in entries) == (name != "copies")


@pytest.mark.parametrize("rule", NAMES)
def test_a_circular_layer_is_a_first_layer(rule: str) -> None:
    torch.manual_seed(0)
    layer: Any = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular").double()
    plain = nn.Conv2d(2, 3, 3).double()
    plain.load_state_dict(layer.state_dict())
    x = noise(2, 2, 5, 4)
    g = noise(2, 3, 5, 4, seed=5)

    def twin(x: Tensor) -> Tensor:
        wide = torch.cat([x[:, :, -1:], x, x[:, :, :1]], 2)
        y: Tensor = plain(torch.cat([wide[..., -1:], wide, wide[..., :1]], 3))
        return y

    assert_same(propagated(layer, x, rule, g), propagated(twin, x, rule, g), 1e-10)


@pytest.mark.parametrize("rule", NAMES)
def test_a_cast_below_keeps_relevance(rule: str) -> None:
    layer, x = conv_and_input()
    g = noise(*layer(x).shape, seed=5)
    x = x.float()
    found = propagated(lambda x: layer(x.double()), x, rule, g)
    assert found.dtype == torch.float32
    assert_same(found.double(), expected(layer, x.double(), rule, g), 1e-6)


@pytest.mark.parametrize("rule", NAMES)
def test_a_linear_layer_of_patches_is_a_first_layer(rule: str) -> None:
    layer: Any = seeded(nn.Linear, 8, 3).double().requires_grad_(False)
    x = noise(2, 2, 4, 4)

    def patches(x: Tensor) -> Tensor:
        return F.unfold(x, 2, stride=2).transpose(1, 2)

    g = noise(2, 4, 3, seed=5)
    found = propagated(lambda x: layer(patches(x)), x, rule, g)
    leaf = x.clone().requires_grad_()
    of_patches = through_layer(rule, layer, patches(x), layer(patches(x)) * g, **RULES[rule][1])
    (wanted,) = torch.autograd.grad(patches(leaf), leaf, of_patches)
    assert_same(found, wanted, 1e-10)


@pytest.mark.parametrize("rule", NAMES)
def test_first_layer_of_a_network_and_of_two_branches(rule: str) -> None:
    """What the layers above hand down is shared by the first one as by its dense matrix."""
    layer, x = conv_and_input()
    head: Any = seeded(nn.Linear, 18, 4).double().requires_grad_(False)

    def model(x: Tensor) -> Tensor:
        return head(layer(x).relu().flatten(1))

    g = noise(2, 4, seed=5)
    hidden = layer(x).relu().flatten(1)
    of_hidden = hidden * (g @ head.weight)
    wanted = through_layer(rule, layer, x, of_hidden, **RULES[rule][1])
    assert_same(propagated(model, x, rule, g), wanted, 1e-10)


REFUSED: dict[str, tuple[Callable[[Any, Tensor], Tensor], str]] = {
    "tanh": (lambda c, x: c(torch.tanh(x)), "tanh"),
    "relu": (lambda c, x: c(F.relu(x)), "relu"),
    "scaled": (lambda c, x: c(x * 2.0), "mul"),
    "shifted": (lambda c, x: c(x - 0.5), "sub"),
    "normalised": (lambda c, x: c((x - 0.5) / 0.2), "between"),
    "averaged": (lambda c, x: c(F.avg_pool2d(x, 1)), "avg_pool"),
    "times a constant": (lambda c, x: c(x * torch.full_like(x, 2.0)), "mul"),
    "layer norm": (lambda c, x: c(F.layer_norm(x, (3,))), "layer_norm"),
    "further below": (lambda c, x: c(torch.tanh(x).flip(3).clone()), "tanh"),
    "batch norm": (
        lambda c, x: c(F.batch_norm(x, torch.zeros(2).double(), torch.ones(2).double())),
        "batch_norm",
    ),
}


@pytest.mark.parametrize("rule", NAMES)
@pytest.mark.parametrize("name", REFUSED)
def test_an_operation_below_that_would_change_relevance_is_refused(name: str, rule: str) -> None:
    layer, x = conv_and_input()
    function, named = REFUSED[name]
    words = (RULES[rule][0].__name__, named, "conv2d", "do that step before the model")
    with refused(RuleError, *words):
        propagated(lambda x: function(layer, x), x, rule, torch.ones(2, 3, 3, 2).double())


@pytest.mark.parametrize("rule", NAMES)
@pytest.mark.parametrize(
    "beside",
    [
        lambda y, x: y + x[:, :1, 1:, 1:],
        lambda y, x: torch.cat([y, x[:, :, 1:, 1:]], 1),
        lambda y, x: y * x.mean(1, keepdim=True)[:, :, 1:, 1:],
        lambda y, x: y.relu() + x.sum(dim=(1, 2, 3), keepdim=True),
    ],
)
def test_inputs_that_are_also_read_beside_are_refused(beside: Any, rule: str) -> None:
    layer, x = conv_and_input()
    name = RULES[rule][0].__name__
    with refused(RuleError, name, "also reads the inputs", "without a rule of its own"):
        propagated(lambda x: beside(layer(x), x), x, rule, torch.ones(1).double())


def test_a_second_layer_of_the_inputs_is_beside_the_first() -> None:
    layer, x = conv_and_input()
    other: Any = seeded(nn.Conv2d, 2, 3, 2, seed=3).double().requires_grad_(False)
    with refused(RuleError, "WSquare", "conv2d also reads the inputs"):
        propagated(lambda x: layer(x) + other(x), x, "w_square", torch.ones(1).double())


def test_what_reads_the_inputs_beside_without_a_signal_is_no_matter() -> None:
    layer, x = conv_and_input()

    def model(x: Tensor) -> Tensor:
        y = layer(x)
        return y * x.detach().mean() + (x.argmax() >= 0)

    g = noise(2, 3, 3, 2, seed=5)
    wanted = through_layer("w_square", layer, x, layer(x) * x.mean() * g)
    assert_same(propagated(model, x, "w_square", g), wanted, 1e-10)


def test_a_rule_of_places_may_be_terminal_by_the_name_of_the_layer() -> None:
    """The same checks hold wherever a terminal rule stands."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    rules = {"linear": "epsilon", "tanh": "secant"}
    with refused(RuleError, "WSquare", "tanh", "linear"):
        relevance_of(model, noise(2, 3), noise(2, 2), rules, layers={"2": WSquare()})


@pytest.mark.parametrize("shape", [(), (2, 1, 1), (1, 2, 1, 1), (4, 3), (2, 4, 3)])
def test_bounds_of_the_box_broadcast_to_the_input(shape: tuple[int, ...]) -> None:
    layer, x = conv_and_input()
    g = noise(*layer(x).shape, seed=5)
    low, high = (noise(*shape, 1, seed=seed).abs()[..., 0] + 5 for seed in (8, 9))
    low = -low
    found = relevance_of(layer, x, g, {"conv": "zero"}, first=ZBox(low, high))
    z = layer(x)
    matrix, bias = dense_of(layer, (2, 4, 3))
    wanted = [
        relevance(
            "z_box", matrix, bias, one.flatten(), out.flatten(), (out * grad).flatten(),
            low=low.expand(1, 2, 4, 3).flatten(), high=high.expand(1, 2, 4, 3).flatten(),
        )
        for one, out, grad in zip(x, z, g, strict=True)
    ]  # fmt: skip
    assert_same(found, torch.stack(wanted).view(x.shape), 1e-10)


@pytest.mark.parametrize("shape", [(), (2, 1, 1), (1, 2, 1, 1), (2, 1, 1, 1), (2, 2, 4, 3)])
def test_box_of_one_example_has_its_own_bounds(shape: tuple[int, ...]) -> None:
    layer, x = conv_and_input()
    g = noise(*layer(x).shape, seed=2)
    low, high = (noise(*shape or (1,), seed=seed).view(shape) for seed in (3, 4))
    low, high = low - 9, high + 9
    whole = relevance_of(layer, x, g, {"conv": "zero"}, first=ZBox(low, high))
    for number in range(2):
        rows = slice(number, number + 1)
        own = ZBox(low, high).of_example(number, 2)
        found = relevance_of(layer, x[rows], g[rows], {"conv": "zero"}, first=own)
        assert_same(found, whole[rows], 1e-12)


def test_box_of_one_example_has_bounds_for_each_of_its_rows() -> None:
    layer, x = conv_and_input()
    x = torch.cat([x, x + 1, x - 1])
    g = noise(*layer(x).shape, seed=2)
    low, high = (noise(len(x), 1, 1, 1, seed=seed) for seed in (3, 4))
    low, high = low - 9, high + 9
    whole = relevance_of(layer, x, g, {"conv": "zero"}, first=ZBox(low, high))
    for number in range(3):
        rows = slice(2 * number, 2 * number + 2)
        own = ZBox(low, high).of_example(number, 3)
        found = relevance_of(layer, x[rows], g[rows], {"conv": "zero"}, first=own)
        assert_same(found, whole[rows], 1e-12)


def test_box_of_float32_bounds_serves_a_float64_input() -> None:
    layer, x = conv_and_input()
    g = noise(*layer(x).shape, seed=5)
    found = relevance_of(layer, x, g, {"conv": "zero"}, first=ZBox(torch.tensor(-4.5), 5))
    assert_same(found, expected(layer, x, "z_box", g), 1e-10)


@pytest.mark.parametrize("bounds", [{}, {"low": 0.0}, {"high": 1.0}])
def test_box_needs_both_bounds(bounds: Any) -> None:
    with refused(RuleError, "z_box rule needs the bounds", "low and high"):
        ZBox(**bounds)


def test_box_upside_down_is_refused() -> None:
    with refused(RuleError, "low must not be above high", "low=1.0, high=0.0"):
        ZBox(1.0, 0.0)
    with refused(RuleError, "low must not be above high"):
        ZBox(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0]))


def test_flat_counts_connections_not_weights() -> None:
    layer, x = conv_and_input()
    layer.weight[:, 0] = 0.0
    g = noise(*layer(x).shape, seed=5)
    found = propagated(layer, x, "flat", g)
    matrix, bias = dense_of(layer, (2, 4, 3))
    params = {"connections": connections_of(layer, (2, 4, 3))}
    wanted = [
        relevance("flat", matrix, bias, a.flatten(), b.flatten(), (b * c).flatten(), **params)
        for a, b, c in zip(x, layer(x), g, strict=True)
    ]
    assert_same(found, torch.stack(wanted).view(x.shape), 1e-10)
    assert_same(found[:, 0], found[:, 1], 1e-10)


def test_a_head_that_ends_at_a_softmax_is_refused() -> None:
    layer, x = conv_and_input()
    rules = {**BELOW, "conv": "epsilon"}
    words = ("no relevance reaches the inputs", "softmax", "explain a value before it")
    for first in (None, WSquare()):
        for head in (F.softmax, torch.softmax, Tensor.softmax):
            with refused(RuleError, *words, 'rules={"softmax": "own"}'):
                relevance_of(
                    lambda x, head=head: head(layer(x).flatten(1), 1),
                    x, torch.ones(1).double(), rules, first=first,
                )  # fmt: skip

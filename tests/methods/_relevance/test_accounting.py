"""Where relevance stays, against dense rules, layer by layer, and other forms of the same call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused
from relevance_networks import PICTURES, plain_net, resnet_like, vgg_like
from relevance_oracles.dense import bias_share, dense_of, through_layer
from relevance_oracles.tiny_vit import tiny_vit
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import DisconnectedError, InputError, ModelError

NETWORKS: dict[str, Callable[[], Any]] = {
    "vgg": vgg_like,
    "resnet": resnet_like,
    "transformer": tiny_vit,
}
METHODS: dict[str, Callable[..., Any]] = {
    "lrp": ta.LRP,
    "flat": lambda model, **options: ta.LRP(model, "epsilon_plus_flat", **options),
    "alpha_beta": lambda model, **options: ta.LRP(model, "epsilon_alpha2_beta1", **options),
    "box": lambda model, **options: ta.LRP(
        model, "epsilon_gamma_box", low=-4.0, high=4.0, **options
    ),
    "zero bias": lambda model, **options: ta.LRP(model, zero_params="bias", **options),
    "attn_lrp": ta.AttnLRP,
    "libra_grad": lambda model, **options: (
        ta.LibraGrad(model) if not options else ta.LRP(model, "zero", **options)
    ),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("network", NETWORKS)
def test_sums_to_the_score(network: str, method: str) -> None:
    model = NETWORKS[network]()
    maps, ledgers = METHODS[method](model).attribute(PICTURES, [3, 0], return_ledger=True)
    scores = model(PICTURES)[[0, 1], [3, 0]]
    for row, ledger in enumerate(ledgers):
        assert ledger.score == pytest.approx(scores[row].item(), rel=1e-12)
        assert ledger.inputs == pytest.approx(maps[row].sum().item(), rel=1e-9)
        assert abs(ledger.error) <= 1e-11 * abs(ledger.score)
        assert ledger.entries
        assert "unknown" not in ledger.by_reason()


RULES = {"z_plus": "epsilon", "epsilon": "z_plus", "alpha_beta": "gamma", "gamma": "alpha_beta"}


@pytest.mark.parametrize("zero_bias", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_each_layer_keeps_what_the_dense_rules_keep(rule: str, zero_bias: bool) -> None:
    """Biases, stabilisers and dead outputs together are what a layer has minus what it gives."""
    model, other = plain_net(), RULES[rule]
    table = {"conv": rule, "linear": other}
    method = ta.LRP(model, table, zero_params="bias" if zero_bias else None, epsilon=1e-3)
    (ledger,) = method.ledgers(PICTURES[:1], 2)
    conv1, relu, conv2, _, flatten, linear = model
    middle = relu(conv1(PICTURES[:1]))
    last = relu(conv2(middle))
    r = torch.zeros(1, 5, dtype=torch.float64)
    r[:, 2] = linear(flatten(last))[:, 2]
    params = {"zero_bias": zero_bias, "epsilon": 1e-3}
    found = ledger.by_layer()
    for name, layer, x in (
        ("5", linear, flatten(last)),
        ("2", conv2, middle),
        ("0", conv1, PICTURES[:1]),
    ):
        kind = other if name == "5" else rule
        matrix, bias = dense_of(layer, tuple(x.shape[1:]))
        flat = x.flatten()
        kept = bias_share(kind, matrix, bias, flat, matrix @ flat + bias, r.flatten(), **params)
        assert found[name] == pytest.approx(kept.sum().item(), rel=1e-9, abs=1e-13)
        r = through_layer(kind, layer, x, r, **params).reshape(x.shape)
        if name == "5":
            r = r.reshape(last.shape)
    assert ("bias" in ledger.by_reason()) == (not zero_bias)
    assert set(found) == {"5", "2", "0"}


def test_operations_outside_of_all_layers_have_no_layer() -> None:
    (ledger,) = ta.LibraGrad(lambda x: (x @ noise(4, 3)).relu() + 2.0).ledgers(noise(1, 4), 1)
    assert [entry.layer for entry in ledger.entries] == [""]
    (entry,) = ledger.entries
    assert (entry.reason, entry.amount) == ("constant", pytest.approx(2.0))


@pytest.mark.parametrize("method", METHODS)
def test_examples_have_the_same_ledger_in_any_batch(method: str) -> None:
    made = METHODS[method](resnet_like())
    whole = made.ledgers(PICTURES, [3, 0])
    alone = [made.ledgers(PICTURES[k : k + 1], [target])[0] for k, target in enumerate((3, 0))]
    assert whole == alone
    assert made.ledgers(PICTURES.flip(0), [0, 3]) == alone[::-1]


@pytest.mark.parametrize(
    "target",
    [
        [3, 0],
        (torch.tensor(3), 0),
        torch.tensor([3, 0]),
        np.array([3, 0]),
        [(3,), (0,)],
        [np.int64(3), torch.tensor(0)],
    ],
    ids=["list", "tuple", "tensor", "array", "tuples", "mixed"],
)
def test_targets_of_each_example(target: Any) -> None:
    made = ta.LRP(resnet_like())
    if isinstance(target, tuple):  # One index for each dimension of the output of an example.
        with refused(ta.TorchattrError, "target"):
            made.attribute(PICTURES, target)
        with refused(ta.TorchattrError, "target"):
            made.ledgers(PICTURES, target)
        return
    expected = [made.ledgers(PICTURES[:1], 3)[0], made.ledgers(PICTURES[1:], 0)[0]]
    assert made.ledgers(PICTURES, target) == expected
    assert_same(
        made.attribute(PICTURES, target).sum((1, 2, 3)),
        torch.tensor([ledger.inputs for ledger in expected], dtype=torch.float64),
        1e-9,
    )


def test_targets_of_outputs_of_more_dimensions() -> None:
    model = nn.Sequential(*vgg_like()[:4]).double()
    made = ta.LRP(model)
    for_all = made.ledgers(PICTURES, (2, 1, 3))
    assert made.ledgers(PICTURES, [(2, 1, 3), (2, 1, 3)]) == for_all
    each = made.ledgers(PICTURES, [(2, 1, 3), (0, 0, 0)])
    assert each[0] == for_all[0]
    assert each[1] == made.ledgers(PICTURES[1:], (0, 0, 0))[0]
    for row, ledger in enumerate(for_all):
        assert ledger.score == pytest.approx(model(PICTURES)[row, 2, 1, 3].item(), rel=1e-12)


def test_several_targets_have_a_list_for_each_example() -> None:
    made = ta.LRP(resnet_like())
    one = [made.ledgers(PICTURES, target) for target in range(5)]
    assert made.ledgers(PICTURES, ta.Classes(4, 1)) == [[one[4][k], one[1][k]] for k in range(2)]
    best = made.model(PICTURES).topk(2).indices.tolist()
    expected = [[one[target][row] for target in best[row]] for row in range(2)]
    assert made.ledgers(PICTURES, ta.TopK(2)) == expected
    assert made.ledgers(PICTURES) == [ledgers[0] for ledgers in expected]
    assert made.ledgers(PICTURES, ta.Classes(4)) == [[one[4][0]], [one[4][1]]]


def test_callables_and_neurons() -> None:
    model = vgg_like()
    made = ta.LRP(model)
    assert made.ledgers(PICTURES, lambda output: output[:, 3]) == made.ledgers(PICTURES, 3)
    found = made.ledgers(PICTURES, ta.Neuron("5", (1, 2, 1)))
    values = nn.Sequential(*model[:6])(PICTURES)[:, 1, 2, 1]
    for ledger, value in zip(found, values, strict=True):
        assert ledger.score == pytest.approx(value.item(), rel=1e-12)
        assert abs(ledger.error) <= 1e-12 * abs(ledger.score)


CLASSES = torch.tensor([3, 0])


def first_and_own(values: Tensor) -> Tensor:
    return values[:, 0] + values[torch.arange(2), CLASSES]


BY_EXAMPLE: dict[str, Any] = {
    "function": first_and_own,
    "gather": lambda output: output.gather(1, CLASSES[:, None])[:, 0],
    "neuron": ta.Neuron("5", lambda values: first_and_own(values.mean((2, 3)))),
    "difference": ta.Difference([3, 0], [1, 2]),
    "several": ta.Classes(ta.Difference([3, 0], [1, 2]), 2),
    "single": torch.tensor([3]),
}


@pytest.mark.parametrize("start", ["score", "one"])
@pytest.mark.parametrize("name", BY_EXAMPLE)
def test_targets_by_example_of_any_kind(name: str, start: Any) -> None:
    made, target = ta.LRP(vgg_like(), start=start), BY_EXAMPLE[name]
    expected = made.attribute(PICTURES, target)
    maps, ledgers = made.attribute(PICTURES, target, return_ledger=True)
    assert_same(maps, expected, 1e-12)
    for row, own in enumerate(ledgers):
        several = own if isinstance(own, list) else [own]
        sums = expected[row].reshape(len(several), -1).sum(1).tolist()
        assert [one.inputs for one in several] == pytest.approx(sums, rel=1e-9)
        assert max(abs(one.error) for one in several) <= 1e-11


SCALE = torch.tensor([0.5, 2.0], dtype=torch.float64).view(2, 1, 1, 1)
FURTHER: dict[str, tuple[Callable[..., Tensor], Any]] = {
    "tensor": (lambda x, scale: x * scale, SCALE),
    "beside a number": (lambda x, scale, number: x * scale + number, (SCALE, 0.5)),
    "in a dict": (lambda x, further: x * further["scale"], ({"scale": SCALE, "name": "x"},)),
    "in a list": (lambda x, further: x * further[0], ([SCALE],)),
    "for all": (lambda x, scale: x * scale[:, None, None], SCALE.new_ones(3)),
}


@pytest.mark.parametrize("name", FURTHER)
def test_further_arguments_by_example(name: str) -> None:
    network, (prepared, arguments) = vgg_like(), FURTHER[name]
    made = ta.LRP(lambda x, *further: network(prepared(x, *further)))
    expected = made.attribute(PICTURES, [3, 0], arguments)
    maps, ledgers = made.attribute(PICTURES, [3, 0], arguments, return_ledger=True)
    assert_same(maps, expected, 1e-12)
    sums = expected.sum((1, 2, 3)).tolist()
    assert [ledger.inputs for ledger in ledgers] == pytest.approx(sums, rel=1e-9)


LOW, HIGH = (
    PICTURES.amin((1, 2, 3), keepdim=True) - 0.1,
    PICTURES.amax((1, 2, 3), keepdim=True) + 0.3,
)
BOXES: dict[str, tuple[Any, Any]] = {
    "by example": (LOW, HIGH),
    "one of them": (LOW, 5.0),
    "for each value": (PICTURES - 0.2, PICTURES + 0.1),
    "by channel": (PICTURES.amin((0, 2, 3))[:, None, None], 5.0),
}


@pytest.mark.parametrize("name", BOXES)
def test_bounds_by_example(name: str) -> None:
    low, high = BOXES[name]
    made = ta.LRP(resnet_like(), "epsilon_gamma_box", low=low, high=high)
    maps, ledgers = made.attribute(PICTURES, [3, 0], return_ledger=True)
    assert_same(maps, made.attribute(PICTURES, [3, 0]), 1e-12)
    assert ledgers == made.ledgers(PICTURES, [3, 0])
    for row, ledger in enumerate(ledgers):
        assert ledger.inputs == pytest.approx(maps[row].sum().item(), rel=1e-9)
        assert abs(ledger.error) <= 1e-11 * abs(ledger.score)


def test_bounds_of_a_layer_by_example() -> None:
    table = {"conv": "gamma", "linear": "epsilon", "0": "z_box"}
    found, first = (
        ta.LRP(vgg_like(), rules, low=LOW, high=HIGH).attribute(PICTURES, 1, return_ledger=True)
        for rules in (table, "epsilon_gamma_box")
    )
    assert_same(found[0], first[0])
    assert found[1] == first[1]


@pytest.mark.parametrize("method", METHODS)
def test_start_at_one_is_the_same_in_units_of_the_score(method: str) -> None:
    model = resnet_like()
    whole = METHODS[method](model).ledgers(PICTURES, 3)
    if method == "attn_lrp":
        unit = ta.AttnLRP(model, start="one").ledgers(PICTURES, 3)
    else:
        unit = METHODS[method](model, start="one").ledgers(PICTURES, 3)
    for one, ledger in zip(unit, whole, strict=True):
        assert one.score == 1.0
        assert one.inputs == pytest.approx(ledger.inputs / ledger.score, rel=1e-12)
        for mine, other in zip(one.entries, ledger.entries, strict=True):
            assert (mine.layer, mine.operation, mine.reason) == (
                other.layer,
                other.operation,
                other.reason,
            )
            assert mine.amount == pytest.approx(other.amount / ledger.score, rel=1e-12)


MASK = torch.full((4, 4), -torch.inf, dtype=torch.float64).triu(1)
WEIGHT = noise(6, 18, seed=9)


def attended(logits: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        q, k, v = (x @ WEIGHT).chunk(3, -1)
        return (logits(q, k).softmax(-1) @ v)[:, -2]

    return run


def added_in_place(q: Tensor, k: Tensor) -> Tensor:
    logits = q @ k.mT
    logits += MASK
    return logits


def fused(**options: Any) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        q, k, v = (x @ WEIGHT).chunk(3, -1)
        return F.scaled_dot_product_attention(q, k, v, scale=1.0, **options)[:, -2]

    return run


MASKED: dict[str, Callable[[Tensor], Tensor]] = {
    "added": attended(lambda q, k: q @ k.mT + MASK),
    "added in place": attended(added_in_place),
    "masked_fill": attended(lambda q, k: (q @ k.mT).masked_fill(MASK < 0, -torch.inf)),
    "where": attended(lambda q, k: torch.where(MASK < 0, -torch.inf, q @ k.mT)),
    "baddbmm": attended(lambda q, k: torch.baddbmm(MASK.expand(len(q), 4, 4), q, k.mT)),
    "fused": fused(attn_mask=MASK),
    "fused with booleans": fused(attn_mask=MASK == 0),
    "fused and causal": fused(is_causal=True),
}


@pytest.mark.parametrize("method", [ta.AttnLRP, ta.LibraGrad])
@pytest.mark.parametrize("name", MASKED)
def test_masks_of_minus_infinity_take_nothing(name: str, method: Any) -> None:
    x = noise(2, 4, 6)
    found = method(MASKED[name]).ledgers(x, 3)
    for ledger, expected in zip(found, method(MASKED["added"]).ledgers(x, 3), strict=True):
        assert abs(ledger.error) <= 1e-12 * abs(ledger.score)
        assert set(ledger.by_reason()) <= {"inputs", "softmax", "error", "constant"}
        assert ledger.inputs == pytest.approx(expected.inputs, rel=1e-11)
        assert ledger.score == pytest.approx(expected.score, rel=1e-11)


def test_paddings_of_minus_infinity_take_nothing() -> None:
    def pooled(x: Tensor) -> Tensor:
        return F.max_pool1d(F.pad(x, (1, 1), value=-torch.inf).relu() - 0.5, 3, 2).flatten(1)

    for ledger in ta.LibraGrad(pooled).ledgers(noise(2, 4, 6), 3):
        assert abs(ledger.error) <= 1e-12
        assert ledger.by_reason()["constant"] == pytest.approx(-0.5)


def cut(x: Tensor) -> Tensor:
    return x.relu().detach() * 2


def test_disconnected_scores_are_refused() -> None:
    with refused(DisconnectedError, "detached"):
        ta.LRP(cut).ledgers(noise(2, 4), 1)


def test_a_score_of_zero_cannot_count_as_one() -> None:
    model: Any = nn.Linear(2, 1, bias=False).double()
    model.weight.data.copy_(torch.tensor([[1.0, -1.0]]))
    with refused(InputError, "start='one'", "which is 0"):
        ta.LRP(model, "zero", start="one").ledgers(torch.ones(2, 2).double(), 0)


def test_a_batch_of_fixed_size_is_refused() -> None:
    model, x = nn.Sequential(nn.Linear(3, 2)), torch.rand(4, 3)
    fixed = torch.export.export(model, (x,)).module()
    with refused(ModelError, "each of the 4 examples by itself", "dynamic_shapes"):
        ta.LRP(fixed).attribute(x, 0, return_ledger=True)
    dynamic = ({0: torch.export.Dim("batch")},)
    free = torch.export.export(model, (x,), dynamic_shapes=dynamic).module()
    assert len(ta.LRP(free).attribute(x, 0, return_ledger=True)[1]) == 4

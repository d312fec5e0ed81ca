"""Attention-aware relevance against a transformer that is propagated by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused
from relevance_networks import PICTURES, vgg_like
from relevance_oracles.frozen import Relevances, relevances
from relevance_oracles.tiny_vit import SPELLINGS, Spelling, spelled, tiny_vit
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import InputError, InputTypeError, RuleError
from torchattr.layers import ZPlus

BOUND = 1e-9
TARGETS = (2, 0)
EVERY_SPELLING = pytest.mark.parametrize("spelling", SPELLINGS)


def by_hand(model: Any, gamma: float = 0.0, epsilon: float = 0.0) -> list[Relevances]:
    return [
        relevances(model, image, target, gamma=gamma, epsilon=epsilon)
        for image, target in zip(PICTURES, TARGETS, strict=True)
    ]


@EVERY_SPELLING
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("gamma", [0.0, 0.05, 0.25])
def test_equals_the_transformer_by_hand(spelling: Spelling, gamma: float, seed: int) -> None:
    model = tiny_vit(seed=seed)
    method = ta.AttnLRP(spelled(model, spelling), gamma=gamma, conv_gamma=gamma)
    expected = torch.stack([one.input for one in by_hand(model, gamma)])
    assert_same(method.attribute(PICTURES, list(TARGETS)), expected, BOUND)


@EVERY_SPELLING
def test_epsilon_is_that_of_weighted_layers(spelling: Spelling) -> None:
    """By hand, sums and products have an ε too, so that only a small one gives nearly the same."""
    model = tiny_vit()
    found = ta.AttnLRP(spelled(model, spelling), epsilon=1e-9).attribute(PICTURES, list(TARGETS))
    assert_same(found, torch.stack([one.input for one in by_hand(model, epsilon=1e-9)]), 1e-5)
    assert not torch.equal(found, ta.AttnLRP(model).attribute(PICTURES, list(TARGETS)))


@EVERY_SPELLING
@pytest.mark.parametrize("gamma", [0.0, 0.25])
def test_ledger_holds_what_the_constants_got_by_hand(spelling: Spelling, gamma: float) -> None:
    model = tiny_vit()
    method = ta.AttnLRP(spelled(model, spelling), gamma=gamma, conv_gamma=gamma)
    ledgers = method.ledgers(PICTURES, list(TARGETS))
    for ledger, expected in zip(ledgers, by_hand(model, gamma), strict=True):
        softmax = sum(v for k, v in expected.constants.items() if k.endswith("softmax"))
        added = sum(expected.constants[k] for k in ("position", "class_token"))
        shares = ledger.by_reason()
        assert shares["softmax"] == pytest.approx(softmax, rel=BOUND)
        assert shares["constant"] == pytest.approx(added, rel=BOUND)
        assert shares["inputs"] == pytest.approx(expected.input.sum().item(), rel=BOUND)
        biases = sum(expected.constants.values()) - softmax - added
        assert shares["bias"] == pytest.approx(biases, rel=BOUND)
        assert abs(ledger.error) <= 1e-12 * abs(ledger.score)


def test_gamma_of_linear_layers_is_not_that_of_convolutions() -> None:
    model = tiny_vit()
    maps = [
        ta.AttnLRP(model, gamma=gamma, conv_gamma=conv).attribute(PICTURES, 1)
        for gamma in (0.0, 0.25)
        for conv in (0.0, 0.25)
    ]
    for k, one in enumerate(maps):
        assert not any(torch.allclose(one, other) for other in maps[:k])


def test_without_attention_it_is_the_frozen_network() -> None:
    model = vgg_like()
    found = ta.AttnLRP(model).attribute(PICTURES, 3)
    assert_same(found, ta.LibraGrad(model).attribute(PICTURES, 3), 1e-13)


def test_rules_replace_its_own() -> None:
    model = tiny_vit()
    frozen = {"attention": "frozen", "softmax": "frozen"}
    for spelling in SPELLINGS:
        found = ta.AttnLRP(spelled(model, spelling), rules=frozen).attribute(PICTURES, 1)
        assert_same(found, ta.LibraGrad(model).attribute(PICTURES, 1), 1e-12)
    found = ta.AttnLRP(model, rules={"linear": ZPlus()}).attribute(PICTURES, 1)
    assert not torch.allclose(found, ta.AttnLRP(model).attribute(PICTURES, 1))


class Queries(nn.Module):
    """Learned queries attend to the inputs, so that only keys and values depend on them."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.linspace(-1, 1, 24).reshape(1, 1, 3, 8))

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.scaled_dot_product_attention(
            self.queries.expand(len(x), -1, -1, -1), x, x * 0.5
        )
        return y.flatten(1)


def test_a_constant_factor_takes_nothing_of_a_product() -> None:
    """Keys get all of the relevance of the product with constant queries: ½, and values ½."""
    model = Queries().double()
    x = PICTURES[:, :1, :4]
    found = ta.AttnLRP(model).attribute(x, 5)
    keys, values = (x.clone().requires_grad_() for _ in range(2))
    y = nn.functional.scaled_dot_product_attention(model.queries, keys, values * 0.5)
    of_keys, of_values = torch.autograd.grad(y.flatten(1)[:, 5].sum(), [keys, values])
    assert_same(found, x * (of_keys + of_values) / 2, 1e-12)


def test_constant_values_or_weights_take_nothing() -> None:
    """The other factor of their product gets all of the relevance."""
    x, fixed = PICTURES[:, :1, :4], noise(1, 1, 4, 8, seed=4)
    attend = nn.functional.scaled_dot_product_attention
    q, k, v = (x.clone().requires_grad_() for _ in range(3))
    pair = torch.autograd.grad(attend(q, k, fixed).flatten(1)[:, 5].sum(), [q, k])
    found = ta.AttnLRP(lambda x: attend(x, x, fixed).flatten(1)).attribute(x, 5)
    assert_same(found, x * (pair[0] + pair[1]) / 2, 1e-12)
    (one,) = torch.autograd.grad(attend(fixed, fixed, v).flatten(1)[:, 5].sum(), [v])
    found = ta.AttnLRP(lambda x: attend(fixed, fixed, x).flatten(1)).attribute(x, 5)
    assert_same(found, x * one, 1e-12)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_without_gradients_change_nothing(mode: Any) -> None:
    method = ta.AttnLRP(tiny_vit())
    expected = method.attribute(PICTURES, 1)
    with mode():
        assert_same(method.attribute(PICTURES, 1), expected)


def test_start_at_one_divides_by_the_score() -> None:
    model = tiny_vit()
    scores = model(PICTURES)[:, 1].reshape(-1, 1, 1, 1)
    found = ta.AttnLRP(model, start="one").attribute(PICTURES, 1)
    assert_same(found * scores, ta.AttnLRP(model).attribute(PICTURES, 1), 1e-12)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"gamma": -0.5}, RuleError, ("gamma must not be negative", "-0.5")),
        ({"conv_gamma": -0.5}, RuleError, ("gamma must not be negative", "-0.5")),
        ({"epsilon": -0.5}, RuleError, ("epsilon must not be negative", "-0.5")),
        ({"start": 1}, InputError, ("start", "'score'", "'one'")),
        ({"rules": {"attention": "halfs"}}, RuleError, ("'halfs'", "'halves'")),
        ({"rules": {"atention": "halves"}}, RuleError, ("'atention'", "'attention'")),
    ],
)
def test_wrong_settings_are_named(options: Any, error: Any, words: tuple[str, ...]) -> None:
    with refused(error, *words):
        ta.AttnLRP(tiny_vit(), **options)


def test_half_precision_is_refused() -> None:
    with refused(InputTypeError, "inputs are float16", "bfloat16"):
        ta.AttnLRP(tiny_vit().half()).attribute(PICTURES.half(), 1)


def test_repr_shows_what_was_chosen() -> None:
    shown = repr(ta.AttnLRP(tiny_vit(), gamma=0.05, rules={"softmax": "frozen"}, strict=False))
    assert shown.startswith("AttnLRP(TinyViT, gamma=0.05, conv_gamma=0.0, epsilon=0.0")
    assert "rules={'softmax': 'frozen'}" in shown
    assert "strict=False" in shown

"""Input times the gradient of the frozen network, against networks that are linear in fact."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_same, noise, refused, seeded
from relevance_networks import PICTURES, enlivened, resnet_like
from relevance_oracles.frozen import relevances
from relevance_oracles.tiny_vit import SPELLINGS, Spelling, spelled, tiny_vit
from torch import Tensor, nn

import torchattr as ta
from torchattr.errors import DisconnectedError, InputTypeError, RuleError

BOUND = 1e-9


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("seed", range(2))
def test_equals_the_transformer_by_hand(spelling: Spelling, seed: int) -> None:
    model = tiny_vit(seed=seed)
    found, ledgers = ta.LibraGrad(spelled(model, spelling)).attribute(
        PICTURES, [3, 1], return_ledger=True
    )
    for row, target in enumerate((3, 1)):
        expected = relevances(model, PICTURES[row], target, "cp_lrp")
        assert_same(found[row], expected.input, BOUND)
        kept = ledgers[row].by_reason()
        constants = {name: expected.constants[name] for name in ("position", "class_token")}
        assert kept["constant"] == pytest.approx(sum(constants.values()), rel=BOUND)
        biases = sum(expected.constants.values()) - sum(constants.values())
        assert kept["bias"] == pytest.approx(biases, rel=BOUND)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_sums_to_the_score_where_nothing_is_added(spelling: Spelling) -> None:
    model = tiny_vit(constants=False)
    found = ta.LibraGrad(spelled(model, spelling)).attribute(PICTURES, 2)
    assert_same(found.sum((1, 2, 3)), model(PICTURES)[:, 2], 1e-11)


class Gates(nn.Module):
    """Every kind of gate; frozen, the values of a first run are constants of the second."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)
        self.norm = nn.LayerNorm(6)

    def forward(self, x: Tensor) -> Tensor:
        h = F.silu(self.first(x)) + 0.3
        gated = h * torch.sigmoid(h)
        scores: Tensor = self.second(self.norm(gated) / (1 + h.abs().sum(1, keepdim=True)))
        return scores

    def frozen(self, x: Tensor) -> Tensor:
        z = self.first(x)
        h = z * torch.sigmoid(z).detach() + 0.3
        # Half of a product goes to each factor; that of the gate passes its own secant.
        secant = ((torch.sigmoid(h) - 0.5) / h).detach()
        gated = 0.5 * h * torch.sigmoid(h).detach() + 0.5 * h.detach() * (0.5 + h * secant)
        centred = gated - gated.mean(1, keepdim=True)
        scale = (gated.var(1, correction=0, keepdim=True) + self.norm.eps).rsqrt().detach()
        normal = centred * scale * self.norm.weight + self.norm.bias
        scores: Tensor = self.second(normal / (1 + h.abs().sum(1, keepdim=True)).detach())
        return scores


def test_is_the_gradient_of_the_frozen_network() -> None:
    model: Any = enlivened(seeded(Gates))
    x = noise(3, 4)
    assert_same(model.frozen(x), model(x), 1e-13)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model.frozen(leaf)[:, 2].sum(), leaf)
    found, ledgers = ta.LibraGrad(model).attribute(x, 2, return_ledger=True)
    assert_same(found, x * gradient, 1e-12)
    for ledger in ledgers:
        assert abs(ledger.error) <= 1e-12 * abs(ledger.score)
        assert set(ledger.by_reason()) == {"inputs", "bias", "constant", "error"}


def test_is_the_composite_zero_of_lrp() -> None:
    model = resnet_like()
    found = ta.LibraGrad(model).attribute(PICTURES, 3)
    assert_same(found, ta.LRP(model, "zero").attribute(PICTURES, 3), 1e-14)
    assert_same(found, ta.InputXGradient(model).attribute(PICTURES, 3), 1e-12)


def test_rules_replace_its_own() -> None:
    model = resnet_like()
    rules = {"conv": "z_plus", "linear": "epsilon"}
    found = ta.LibraGrad(model, rules=rules).attribute(PICTURES, 3)
    assert_same(found, ta.LRP(model).attribute(PICTURES, 3), 1e-13)
    with refused(RuleError, "'z_pluss'", "'z_plus'"):
        ta.LibraGrad(model, rules={"conv": "z_pluss"})


class Cut(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return x.relu() * 2


def test_disconnected_scores_are_refused() -> None:
    """An empty ledger would say that the whole score is an error of the rules."""
    for call in (ta.LibraGrad(Cut()).attribute, ta.LibraGrad(Cut()).ledgers):
        with refused(DisconnectedError, "no_grad"):
            call(noise(2, 4), 1)


def test_half_precision_is_refused() -> None:
    with refused(InputTypeError, "inputs are float16", "bfloat16"):
        ta.LibraGrad(tiny_vit().half()).attribute(PICTURES.half(), 1)


def test_repr_shows_what_was_chosen() -> None:
    assert repr(ta.LibraGrad(resnet_like())) == "LibraGrad(ResNetLike)"
    shown = repr(ta.LibraGrad(resnet_like(), rules={"conv": "z_plus"}, output=0, strict=False))
    assert shown == "LibraGrad(ResNetLike, rules={'conv': 'z_plus'}, output=0, strict=False)"

"""The rules by hand: small numbers, classes of both libraries, and what a ledger says of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from captum.attr._utils import lrp_rules
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import torchattr.captum
from torchattr.captum import LRP
from torchattr.captum.lrp_rules import is_leaf, rules_of, with_rules_of

X = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)


def small(first: Any, last: Any) -> Any:
    """Return `3 · Σ relu(W x)` with `W = 2` but for one entry of -2, and rules for both layers."""
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False))
    model = model.double()
    model[0].weight.data.fill_(2.0)
    model[0].weight.data[0, 0] = -2.0
    model[2].weight.data.fill_(3.0)
    model[0].rule, model[2].rule = first, last  # type: ignore[assignment]
    return model


EXPECTED = {
    # The relevance of the hidden units is (24, 36, 36).
    "EpsilonRule": [-6 + 6 + 6, 12 + 12 + 12, 18 + 18 + 18],
    "GammaRule": [-48 / 18 + 6 + 6, 24 * 8 / 18 + 12 + 12, 24 * 12 / 18 + 18 + 18],
    "Alpha1_Beta0_Rule": [12.0, 24 * 4 / 10 + 24, 24 * 6 / 10 + 36],
    "IdentityRule": [24.0, 36.0, 36.0],
}


@pytest.mark.parametrize("library", [torchattr.captum, lrp_rules], ids=["torchattr", "captum"])
@pytest.mark.parametrize("kind", EXPECTED)
def test_numbers_by_hand(kind: str, library: Any) -> None:
    rule = getattr(library, kind)(*([1.0] if kind == "GammaRule" else []))
    found = LRP(small(rule, library.EpsilonRule())).attribute(X)
    assert_same(found, torch.tensor([EXPECTED[kind]], dtype=torch.float64), 1e-8)


@pytest.mark.parametrize("kind", EXPECTED)
def test_a_ledger_accounts_for_what_the_rules_keep(kind: str) -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 2))).double()
    rule = getattr(torchattr.captum, kind)()
    model[0].rule, model[2].rule = rule, torchattr.captum.GammaRule()
    (ledger,) = LRP(model).ledgers(noise(1, 5), 1)
    assert abs(ledger.error) < 1e-12 * sum(abs(entry.amount) for entry in ledger.entries)


def test_a_ledger_accounts_for_layers_without_weights() -> None:
    model = seeded(
        lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.AvgPool1d(2), nn.Flatten())
    ).double()
    model[1].rule = torchattr.captum.IdentityRule()
    model[2].rule = torchattr.captum.EpsilonRule(0.5)
    x = noise(1, 2, 8)
    found, (ledger,) = LRP(model).attribute(x, 3), LRP(model).ledgers(x, 3)
    assert_same(found.sum().reshape(1), torch.tensor([ledger.inputs], dtype=torch.float64), 1e-12)
    assert abs(ledger.by_reason()["stabiliser"]) > 0.01
    assert abs(ledger.error) < 1e-12


class Checkpointed(nn.Module):
    """A network with rules of layers without weights, part of which runs again in a backward."""

    def __init__(self, *, again: bool) -> None:
        super().__init__()
        self.part = nn.Sequential(
            nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.AvgPool1d(2), nn.Flatten()
        )
        self.last, self.again = nn.Linear(12, 2), again
        self.part[1].rule = torchattr.captum.IdentityRule()
        self.part[3].rule = torchattr.captum.EpsilonRule(0.5)

    def forward(self, x: Tensor) -> Any:
        if self.again:
            return self.last(checkpoint(self.part, x, use_reentrant=False))
        return self.last(self.part(x))


def test_rules_of_layers_in_a_part_that_is_checkpointed() -> None:
    found, expected = (
        LRP(seeded(Checkpointed, again=again).double()).attribute(noise(2, 2, 8), 1)
        for again in (True, False)
    )
    assert_same(found, expected)


def test_an_input_of_zero_has_no_relevance_by_identity() -> None:
    """What would be assigned to it is accounted for as dead: Captum divides by 1e-9 below it."""
    model = small(torchattr.captum.IdentityRule(), torchattr.captum.EpsilonRule())
    x = X * torch.tensor([1.0, 0.0, 1.0])
    relevance, (ledger,) = LRP(model).attribute(x), LRP(model).ledgers(x)
    assert relevance[0, 1] == 0
    assert ledger.by_reason()["dead"] == pytest.approx(24.0)
    assert abs(ledger.error) < 1e-9


def test_rules_of_parts_are_read_and_those_of_containers_are_not() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Linear(2, 1))
    model[0].rule = rule = torchattr.captum.EpsilonRule()  # type: ignore[assignment]
    model[0][0].rule = rule
    model[1].rule = None  # type: ignore[assignment]
    assert rules_of(model) == {"0.0": rule}
    assert [is_leaf(module) for module in model] == [False, True]
    composite = with_rules_of(model, LRP(model).composite)
    assert list(composite.layers) == ["0.0"]


@pytest.mark.parametrize("kind", [nn.ReLU, nn.Tanh, nn.Dropout])
def test_gates_pass_relevance_whatever_their_rule(kind: type[nn.Module]) -> None:
    model = nn.Sequential(nn.Linear(3, 3), kind(), nn.Linear(3, 1)).double().eval()
    expected = LRP(model).attribute(X)
    model[1].rule = torchattr.captum.EpsilonRule(0.5)  # type: ignore[assignment]
    assert_same(LRP(model).attribute(X), expected)


class Doubled(lrp_rules.GammaRule):
    """A rule derived from one of Captum's."""


class Own(lrp_rules.PropagationRule):
    """A rule of a user's own."""

    def _manipulate_weights(self, module: Any, inputs: Any, outputs: Any) -> None: ...


def test_derived_rules_count_as_what_they_derive_from_and_others_are_refused() -> None:
    assert_same(
        LRP(small(Doubled(1.0), lrp_rules.EpsilonRule())).attribute(X),
        LRP(small(lrp_rules.GammaRule(1.0), lrp_rules.EpsilonRule())).attribute(X),
    )
    with refused(TypeError, "'0'", "Own", "LayerRule"):
        LRP(small(Own(), None))


def test_a_layer_called_by_the_name_of_an_operation() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add, self.conv = nn.Linear(3, 3).double(), nn.Linear(3, 2).double()

        def forward(self, x: Tensor) -> Any:
            return self.conv(self.add(x).relu())

    model = Named()
    default = LRP(model).attribute(X, 1)
    model.add.rule = torchattr.captum.Alpha1_Beta0_Rule()  # type: ignore[assignment]
    assert not torch.equal(LRP(model).attribute(X, 1), default)


@pytest.mark.parametrize("is_tied", [True, False], ids=["tied", "weight norm"])
def test_rules_are_those_of_the_module_that_runs_not_of_its_weight(is_tied: bool) -> None:
    def three() -> Any:
        torch.manual_seed(0)
        return nn.Sequential(*(nn.Linear(3, 3) for _ in range(3))).double().eval()

    model, plain = three(), three()
    if is_tied:
        model[1].weight = model[0].weight
        plain[1].weight.data.copy_(plain[0].weight.data)
    else:
        nn.utils.parametrizations.weight_norm(model[1])
    for one in (model, plain):
        one[0].rule = torchattr.captum.EpsilonRule()
        one[1].rule = torchattr.captum.GammaRule(0.7)
    expected = LRP(plain).attribute(X, 0)
    assert_same(LRP(model).attribute(X, 0), expected, 1e-12)
    del plain[1].rule
    assert (LRP(plain).attribute(X, 0) - expected).abs().max() > 1e-3

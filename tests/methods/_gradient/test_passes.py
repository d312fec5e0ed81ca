"""One forward for the passes of several methods and targets, against plain autograd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from helpers import assert_same, noise
from rectified import X, by_autograd, network, of_each_class
from torch import Tensor, nn

import torchattr as ta
from torchattr.core.inputs import Inputs, as_inputs
from torchattr.layers import RuleTable, TapPoint, rule_table
from torchattr.methods import MethodCall, Pass, PassResult, SolveResult, solve


class Reading:
    """A method that returns the gradients of its passes unchanged."""

    strict = True
    combines_at_once = False

    def __init__(self, *passes: Pass) -> None:
        self._passes = passes
        self.values: list[Tensor] = []

    @property
    def title(self) -> str:
        return "Reading"

    @property
    def table(self) -> RuleTable:
        return self._passes[0].rules

    def passes(self, inputs: Inputs, arguments: Sequence[Any], **options: Any) -> Sequence[Pass]:
        return self._passes

    def combine(self, inputs: Inputs, results: Sequence[PassResult], **options: Any) -> Any:
        self.values = [result.values[-1][0] for result in results]
        return tuple(result.gradients[0][0] for result in results)


PLAIN, GUIDED, DECONVOLUTION = (
    rule_table({"relu": rule} if rule else {}) for rule in (None, "guided", "deconvolution")
)


class Counted(nn.Module):
    """Counts its forwards."""

    def __init__(self) -> None:
        super().__init__()
        self.model = network()
        self.forwards = 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += 1
        return self.model(x)


def solved(model: nn.Module, target: Any, *methods: Any, **options: Any) -> SolveResult:
    return solve(model, as_inputs(X), target, (), list(map(MethodCall, methods)), **options)


def test_one_forward_serves_passes_of_several_rules_and_targets() -> None:
    model = Counted()
    both = Reading(Pass(GUIDED), Pass(PLAIN))
    result = solved(model, ta.Classes(range(4)), both, Reading(Pass(DECONVOLUTION)))
    assert model.forwards == 1
    (guided, plain), (deconvolution,) = result.results
    for found, rule in ((guided, "guided"), (plain, "gradient"), (deconvolution, "deconvolution")):
        assert_same(found, of_each_class(model.model, rule), 1e-12)
    assert result.targets == [0, 1, 2, 3]
    assert_same(torch.stack(result.scores, 1), model.model(X).detach(), 1e-12)
    assert not result.output.requires_grad
    assert result.refused == {}


def test_gradients_are_read_at_tap_points() -> None:
    model = network()
    reading = Reading(Pass(PLAIN, TapPoint(model[3]), "flat"), Pass(PLAIN))
    found, at_inputs = solved(model, 2, reading).results[0]
    values = model[:4](X).detach().requires_grad_()
    (expected,) = torch.autograd.grad(model[4:](values)[:, 2].sum(), values)
    assert_same(found, expected, 1e-12)
    assert_same(reading.values[0], values.detach())
    assert_same(at_inputs, by_autograd(model, 2), 1e-12)


def test_what_is_not_used_gets_zeros_where_another_input_is() -> None:
    a, b = noise(2, 3), noise(2, 3, seed=2)
    with pytest.warns(ta.DisconnectedWarning, match="input 1"):
        found = ta.Saliency(lambda a, b: a.square()).attribute((a, b), 0)
    assert_same(found[0][:, 0], 2 * a[:, 0].abs())
    assert not found[1].any()


def test_refusals_are_raised_or_noted() -> None:
    smooth = nn.Sequential(nn.Flatten(), nn.Linear(84, 4).double(), nn.Tanh())
    methods = Reading(Pass(PLAIN)), Reading(Pass(GUIDED))
    with pytest.raises(ta.NoRuleMatched, match="Reading rewrote nothing"):
        solved(smooth, 1, *methods)
    result = solved(smooth, 1, *methods, skip_refused=True)
    assert list(result.refused) == [1]
    assert "Reading rewrote nothing" in result.refused[1]
    assert result.results[1] is None
    assert_same(result.results[0][0], by_autograd(smooth, 1), 1e-12)


def test_targets_are_read_without_a_graph_of_the_caller() -> None:
    model = network()
    with torch.no_grad():
        (found,) = solved(model, 1, Reading(Pass(PLAIN))).results[0]
    with torch.inference_mode():
        (inferred,) = solved(model, 1, Reading(Pass(PLAIN))).results[0]
    assert_same(found, by_autograd(model, 1), 1e-12)
    assert_same(inferred.clone(), found)

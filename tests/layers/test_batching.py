"""Backwards of several gradients at once, against one after the other."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import assert_same, noise, seeded
from torch import Tensor, nn

from torchattr.layers import (
    GraphTrace,
    LayerRule,
    NativeTrace,
    RuleTable,
    TapPoint,
    Trace,
    rule_table,
)
from torchattr.layers.rules.linear import LinearGradient

X = noise(2, 3, 8, 8)


def network() -> nn.Module:
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, padding="same"), nn.BatchNorm2d(4), nn.AvgPool2d(2), nn.ReLU(),
            nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
        ).double().eval()
    )  # fmt: skip


def tail() -> nn.Module:
    """What lean's rules can do for several gradients."""
    whole = network()
    kept = (part for part in whole if not isinstance(part, (nn.ReLU, nn.MaxPool2d)))
    return nn.Sequential(*kept, nn.Linear(3, 3).double()).eval()


def assert_batched(trace: GraphTrace, table: int = 0) -> None:
    edges = trace.input_edges
    seeds = noise(5, *trace.output.shape)
    assert trace.largest_gradient(edges, table) == max(X.numel(), 2 * 4 * 64)
    found = trace.gradients_of_several(trace.output, seeds, edges, table=table)[0]
    assert found is not None
    for seed, gradient in zip(seeds, found, strict=True):
        scores = (trace.output * seed).sum(1)
        (expected,) = trace.gradients(scores, edges, table=table)
        assert expected is not None
        assert_same(gradient, expected, 1e-12)


@pytest.mark.parametrize("rule", [None, "guided", "deconvolution"])
def test_rules_on_pytorchs_nodes_take_several(rule: str | None) -> None:
    table = rule_table({"relu": rule} if rule else {})
    assert_batched(NativeTrace(network(), [X], tables=[{}, table]), 1)


def test_rules_of_pytorchs_functions_take_several() -> None:
    assert_batched(Trace(tail(), [X]))


def test_rules_of_kernels_take_one() -> None:
    trace = Trace(network(), [X])
    assert trace.largest_gradient(trace.input_edges, 0) is None


class Halved(LinearGradient):
    """A rule of the user's, which declares nothing."""


class Ignored(LayerRule):
    def backward(self, call: Any, grad: Tensor, *saved: Tensor) -> Tensor:
        return grad.new_zeros(call.shape)


@pytest.mark.parametrize("rule", [Halved(), Ignored()])
def test_a_rule_of_the_users_takes_one(rule: LayerRule) -> None:
    table: RuleTable = {"linear": rule}
    trace = Trace(tail(), [X], tables=[table, {}])
    assert trace.largest_gradient(trace.input_edges, 0) is None
    assert trace.largest_gradient(trace.input_edges, 1) is not None


def test_what_is_not_reached_has_no_gradient() -> None:
    class First(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x.sum((2, 3))

    trace = NativeTrace(nn.Sequential(First())[0].eval(), [X, X])
    found = trace.gradients_of_several(trace.output, noise(4, 2, 3), [*trace.input_edges, None])
    assert found[0] is not None
    assert found[1:] == [None, None]
    assert trace.largest_gradient([None], 0) is None


def test_only_what_lies_between_counts() -> None:
    """A layer's gradient does not pass through what is below it."""
    model = network()
    tap = TapPoint(model[5])
    trace = NativeTrace(model, [X], taps=[tap])
    assert trace.largest_gradient(trace.calls(tap)[0].edges, 0) == 8

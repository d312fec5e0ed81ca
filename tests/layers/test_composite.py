"""Which rule a composite chooses for a call."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import refused
from torch import Tensor

import torchattr as ta
from torchattr.errors import RuleError
from torchattr.layers import Composite, Epsilon, Position, WSquare, ZPlus, parse_call, rule_table

PARSED = parse_call(F.linear, (torch.ones(1, 2), torch.ones(3, 2)), {})
assert PARSED is not None
CALL = PARSED[0]

GENERAL, FIRST, LAST, NAMED = Epsilon(), WSquare(), Epsilon(0.2), Epsilon(0.3)
COMPOSITE = Composite({"linear": GENERAL}, first=FIRST, last=LAST, layers={"a": NAMED})


@pytest.mark.parametrize(
    ("position", "rule"),
    [
        (Position(), GENERAL),
        (Position("b"), GENERAL),
        (Position("a"), NAMED),
        (Position("a", is_last=True), LAST),
        (Position("a", is_first=True), FIRST),
        (Position("a", is_first=True, is_last=True), FIRST),
    ],
)
def test_first_then_last_then_layer_then_operation(position: Position, rule: ta.LayerRule) -> None:
    assert COMPOSITE.rule_for(CALL, position) is rule


def test_a_place_without_a_rule_has_that_of_its_layer() -> None:
    plain = Composite({"linear": GENERAL}, layers={"a": NAMED})
    assert plain.rule_for(CALL, Position("a", is_first=True, is_last=True)) is NAMED


class ByExample(ta.LayerRule):
    def __init__(self, values: list[int]) -> None:
        self.values = values

    def backward(self, call: ta.Call, grad: Tensor, *saved: Tensor) -> Tensor:
        return grad

    def of_example(self, number: int, count: int) -> ByExample:
        assert len(self.values) == count
        return ByExample(self.values[number : number + 1])


def test_rules_of_one_example() -> None:
    own = ByExample([3, 4])
    whole = Composite(
        {"linear": own, "relu": GENERAL},
        first=own,
        layers={"a": own, "b": NAMED},
        inside={"c": own},
        strict=False,
    )
    found = whole.of_example(1, 2)
    made: Any = found["linear"]
    assert made.values == [4]
    assert found.first is found.layers["a"] is found.inside["c"] is made
    assert found["relu"] is GENERAL
    assert found.layers["b"] is NAMED
    assert found.last is None
    assert not found.strict
    assert whole.first is own


def test_a_rule_that_saves_serves_calls_of_rules_that_do_not() -> None:
    zero = rule_table({"conv": "zero"})["conv"]
    composite = Composite({"conv": zero, "relu": ZPlus()}, last=LAST)
    assert composite.saving("conv") is LAST
    assert composite.saving("relu") is composite["relu"]
    assert composite.saving("add") is None
    assert Composite({"conv": zero}).saving("conv") is zero


class SavesElse(ta.LayerRule):
    def save(self, call: ta.Call, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return (y,)

    def backward(self, call: ta.Call, grad: Tensor, *saved: Tensor) -> Tensor:
        return grad


def test_rules_that_save_different_tensors_are_refused() -> None:
    with refused(RuleError, "Epsilon, SavesElse", "save different tensors", "one class"):
        Composite({"linear": GENERAL}, first=SavesElse())

"""Rules by operation and name."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from unittest import mock

import pytest
from torch import Tensor

import torchattr as ta
from torchattr.layers import OPERATIONS, Operation, register_operation, registry
from torchattr.layers.registry import (
    register_kind_rule,
    register_rule,
    registered_rules,
    rule_table,
)


class Open(ta.LayerRule):
    def backward(self, call: ta.Call, grad: Tensor, *saved: Tensor) -> Tensor:
        return grad


class Other(Open):
    """Another rule."""


@pytest.fixture(autouse=True)
def own_rules() -> Iterator[None]:
    with (
        mock.patch.dict(registry._registries, deepcopy(registry._registries)),
        mock.patch.dict(registry._kind_rules),
        mock.patch.dict(OPERATIONS),
    ):
        yield


def test_a_rule_may_serve_several_operations() -> None:
    register_rule(("relu", "gelu"), "open for tests")(Open)
    known = registered_rules()
    assert known["relu", "open for tests"] is known["gelu", "open for tests"] is Open
    assert isinstance(rule_table({"gelu": "open for tests"})["gelu"], Open)


def test_a_rule_may_serve_a_kind_and_the_operations_that_join_it_later() -> None:
    register_kind_rule("activation", "open for tests")(Open)
    register_operation(Operation("softsign", "activation"))
    register_operation(Operation("made up", "merge"))
    known = registered_rules()
    assert known["gelu", "open for tests"] is known["softsign", "open for tests"] is Open
    assert {name for operation, name in known if operation == "softsign"} == {
        *("guided", "deconvolution", "secant", "rescale", "open for tests")
    }
    assert not any(operation == "made up" for operation, _ in known)


def test_a_name_is_taken_once() -> None:
    register_rule("relu", "open for tests")(Open)
    with pytest.raises(ta.RuleError, match=r"'relu' called 'open for tests' .*\(Open\); choose"):
        register_rule("relu", "open for tests")(Other)
    assert registered_rules()["relu", "open for tests"] is Open


def test_an_unknown_operation_leaves_nothing_registered() -> None:
    with pytest.raises(ta.RuleError, match="no operation is called 'rellu'; did you mean 'relu'"):
        register_rule(("relu", "rellu"), "open for tests")(Open)
    assert ("relu", "open for tests") not in registered_rules()


def test_unknown_names_get_the_closest() -> None:
    with pytest.raises(ta.RuleError, match=r"no rule for 'relu' is called 'guide'; .*'guided'"):
        rule_table({"relu": "guide"})
    with pytest.raises(ta.RuleError, match="'dropout' is called 'guided'; there are: none"):
        rule_table({"dropout": "guided"})


def test_what_is_no_rule() -> None:
    with pytest.raises(ta.RuleError, match="must be a name or a LayerRule, got int"):
        rule_table({"relu": 3})


def test_objects_classes_and_none() -> None:
    rule = Open()
    table = rule_table({"relu": rule, "gelu": Other, "silu": None})
    assert list(table) == ["relu", "gelu"]
    assert table["relu"] is rule
    assert type(table["gelu"]) is Other

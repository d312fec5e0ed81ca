"""Containers of tensors."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from torchattr.core.pytree import filled, skeleton, tensors_of, with_tensors

Pair = namedtuple("Pair", "first second")


@dataclass(frozen=True)
class Frozen:
    value: Any
    note: str = "x"


@dataclass
class Tree:
    leaf: Tensor
    branch: Any = None


ONE, TWO = torch.ones(1), torch.full((2,), 2.0)
FORMS = [
    (ONE, 0),
    ((ONE, TWO), (0, 1)),
    ([ONE, None, TWO], (0, 1)),
    ({"a": ONE, "b": {"c": TWO, "d": 3}}, {"a": 0, "b": {"c": 1}}),
    (OrderedDict(z=ONE, a=TWO), {"z": 0, "a": 1}),
    (Pair(ONE, [TWO]), (0, (1,))),
    (Frozen(ONE), {"value": 0}),
    (Tree(ONE, Tree(TWO)), {"leaf": 0, "branch": {"leaf": 1}}),
    ([Frozen({"a": (ONE,)}), TWO], ({"value": {"a": (0,)}}, 1)),
]


@pytest.mark.parametrize(("value", "form"), FORMS)
def test_forms(value: Any, form: Any) -> None:
    assert skeleton(value) == form
    assert filled(form, tensors_of(value)) is not None


@pytest.mark.parametrize(("value", "form"), FORMS)
def test_each_tensor_is_changed_once_and_nothing_else(value: Any, form: Any) -> None:
    changed = with_tensors(value, lambda tensor: tensor + 1)
    assert type(changed) is type(value)
    assert skeleton(changed) == form
    for before, after in zip(tensors_of(value), tensors_of(changed), strict=True):
        torch.testing.assert_close(after, before + 1)


def test_nothing_to_change() -> None:
    assert tensors_of(None) == []
    assert skeleton({"a": 1}) is None
    assert filled(None, []) == ()

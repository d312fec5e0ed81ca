"""Walks through arguments: what is replaced, what stays the same object, what is copied."""

from __future__ import annotations

from collections import namedtuple

import torch

from torchattr.incremental.arguments import Ref, fill, map_tensors, refs, tensors_in


def test_nested_values_keep_their_form() -> None:
    pair = namedtuple("pair", ["a", "b"])
    nested = {"one": [torch.ones(1), 2], "two": pair(torch.zeros(1), (torch.ones(2),))}
    taken = map_tensors(nested, lambda tensor: Ref(int(tensor.numel())))
    assert list(refs(taken)) == [1, 1, 2]
    assert taken["two"] == pair(Ref(1), (Ref(2),))
    assert fill(taken, str) == {"one": ["1", 2], "two": pair("1", ("2",))}
    constant = {"scale": 2}
    assert map_tensors(constant, Ref) is constant


def test_lists_are_copied_since_the_model_may_change_them() -> None:
    inner, outer = [1, 2], ([1, 2], 3)
    taken = map_tensors({"sizes": inner, "x": torch.ones(1)}, lambda tensor: Ref(0))
    inner.append(3)
    assert taken["sizes"] == [1, 2]
    assert map_tensors(outer, Ref)[0] is not outer[0]


def test_tuples_of_constants_stay_the_same_object() -> None:
    """So that replaying compares most arguments by identity."""
    window = (3, "same", None, torch.float32)
    assert map_tensors((window, torch.ones(1)), lambda tensor: Ref(0))[0] is window


def test_tensors_are_found_in_order() -> None:
    one, two = torch.ones(1), torch.zeros(2)
    found = list(tensors_in(([one, 3], {"other": (two, "name")}, None)))
    assert [id(tensor) for tensor in found] == [id(one), id(two)]

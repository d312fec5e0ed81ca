"""The layers of a method, and which call of a layer counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import refused
from rectified import X, network
from torch import nn

import torchattr as ta
from torchattr.core.inputs import as_inputs
from torchattr.errors import InputError
from torchattr.methods import LayerChoice

CALLS = [torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([4.0])]


@pytest.mark.parametrize(("calls", "expected"), [("first", 1), ("last", 4), ("sum", 7)])
def test_calls_that_count(calls: Any, expected: float) -> None:
    choice = LayerChoice(network(), "0", calls)
    assert choice.pick("0", CALLS) == expected
    assert choice.pick("0", CALLS, lambda call: {"map": (10 * call,)}) == {"map": (10 * expected,)}


def test_each_call() -> None:
    assert LayerChoice(network(), "0", "each").pick("0", CALLS) == tuple(CALLS)


def test_the_last_call_is_taken_with_a_warning() -> None:
    choice = LayerChoice(network(), "0", None)
    assert choice.pick("0", CALLS[:1]) == 1
    with pytest.warns(ta.LayerReuseWarning, match="'0' was called 3 times"):
        assert choice.pick("0", CALLS) == 4


def test_an_unknown_policy() -> None:
    with refused(InputError, "calls", "'last', 'first', 'sum', 'each'", "'mean'"):
        LayerChoice(network(), "0", "mean")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layer", "names", "several"),
    [("3", ["3"], False), (["3"], ["3"], True), (nn.ReLU, ["1", "5"], True), (-1, ["6"], False)],
)
def test_layers_by_name_type_and_position(layer: Any, names: list[str], several: bool) -> None:
    model = network()
    choice = LayerChoice(model, layer, None)
    assert list(choice.resolve(as_inputs(X), (), None)) == names
    assert choice.several == several
    assert choice.form({"3": 1}) == ({"3": 1} if several else 1)


def test_modules_without_names_are_numbered() -> None:
    model = network()
    choice = LayerChoice(lambda x: model(x), [model[1], model[5]], None)
    assert list(choice.resolve(as_inputs(X), (), None)) == ["ReLU", "ReLU 1"]


def test_without_a_choice_the_layer_is_found_for_each_call() -> None:
    model = network()
    choice = LayerChoice(model, None, None)
    for target, name in ((0, "2"), (ta.Neuron("1", (0, 0, 0)), "1")):
        with pytest.warns(ta.LayerChoiceWarning, match=f"layer='{name}'"):
            assert choice.resolve(as_inputs(X), (), None, target) == {name: model[int(name)]}

"""A model as a function of a layer's values."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

from torchattr.core.inputs import as_inputs
from torchattr.errors import LayerError
from torchattr.layers import TapPoint
from torchattr.methods._perturbation.from_layer import FromLayer


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice = nn.Linear(3, 4), nn.Linear(4, 4)
        self.both, self.unused = Both(), nn.Linear(1, 1)

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        x = self.twice(self.twice(self.first(x)).tanh())
        left, right = self.both(left=x, right=x * scale)
        return left * 3 + right


class Both(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        return left.sin(), right.cos()


MODEL, X = seeded(Net).double(), noise(2, 3)


def part(layer: str, *arguments: Any, of_input: bool = False) -> FromLayer:
    tap = TapPoint(MODEL.get_submodule(layer), of_input)
    return FromLayer(MODEL, tap, as_inputs(X), arguments)


@pytest.mark.parametrize("of_input", [False, True])
@pytest.mark.parametrize("layer", ["first", "twice", "both"])
def test_its_own_values_give_the_models_output(layer: str, of_input: bool) -> None:
    found = part(layer, 0.3, of_input=of_input)
    assert_same(found.forward(*found.values, *found.arguments), MODEL(X, 0.3))


def test_other_values_replace_those_of_the_last_call() -> None:
    found = part("twice")
    assert found.calls == 2
    other = noise(2, 4, seed=5)
    assert_same(found.forward(other, X), 3 * other.sin() + other.cos())
    inner = part("twice", of_input=True)
    x = MODEL.twice(other)
    assert_same(inner.forward(other, X), 3 * x.sin() + x.cos())


def test_several_values_are_replaced_in_order() -> None:
    a, b = noise(2, 4, seed=5), noise(2, 4, seed=6)
    assert_same(part("both").forward(a, b, X), 3 * a + b)
    assert_same(part("both", of_input=True).forward(a, b, X), 3 * a.sin() + b.cos())
    assert part("both").restore(["a", "b"]) == ("a", "b")


def test_no_hook_is_left() -> None:
    found = part("first")
    found.forward(*found.values, X)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in MODEL.modules())


def test_a_layer_that_does_not_run_is_refused() -> None:
    with refused(LayerError, "did not run"):
        part("unused")

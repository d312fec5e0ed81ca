"""A model as a function of its layers' values."""

from __future__ import annotations

import torch
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

from torchattr.core.undoing import undoing
from torchattr.errors import LayerError
from torchattr.layers import TapPoint, Trace
from torchattr.methods._gradient.layer_choice import Calls, LayerChoice
from torchattr.methods._gradient.substitution import Place, Substitution, places_of


def places(model: nn.Module, x: Tensor, layer: str, calls: Calls | None = None) -> list[Place]:
    taps = {layer: TapPoint(model.get_submodule(layer))}
    trace = Trace(model, [x], taps=list(taps.values()), differentiable=False)
    return places_of(LayerChoice(model, layer, calls), taps, trace.calls)


class Again(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.layer(x).tanh())


def test_values_stand_in_for_those_of_the_layer() -> None:
    model, x = nn.Sequential(nn.Linear(4, 3), nn.Tanh()).double(), noise(2, 4)
    substitution = Substitution(model, places(model, x, "0"))
    given = noise(2, 3, seed=5)

    def run(undo: object) -> Tensor:
        substitution.hook(undo)  # type: ignore[arg-type]
        return substitution.forward(given, x)

    assert_same(undoing(run).detach(), given.tanh())
    assert_same(substitution.forward(given, x).detach(), model(x).detach())


def test_only_one_of_two_calls_is_replaced() -> None:
    model, x = seeded(Again).double(), noise(2, 4)
    given = noise(2, 4, seed=5)
    for calls, expected in (("first", model.layer(given.tanh())), ("last", given)):
        substitution = Substitution(model, places(model, x, "layer", calls))  # type: ignore[arg-type]

        def run(undo: object, substitution: Substitution = substitution) -> Tensor:
            substitution.hook(undo)  # type: ignore[arg-type]
            return substitution.forward(given, x)

        assert_same(undoing(run).detach(), expected.detach())


def test_calls_that_cannot_be_told_apart_are_refused() -> None:
    """A checkpointed part runs again in the backward, without the rest of the model."""
    model, x = seeded(Again).double(), noise(2, 4)
    substitution = Substitution(model, places(model, x, "layer", "last"))

    def run(undo: object) -> None:
        substitution.hook(undo)  # type: ignore[arg-type]
        substitution.forward(x, x)
        model.layer(x)

    with refused(LayerError, "'layer' is called 2 times", "checkpoint"):
        undoing(run)
    assert not model.layer._forward_hooks


def test_a_place_holds_only_floating_values() -> None:
    class Mixed(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x.argmax(1)

    model = nn.Sequential(nn.Linear(4, 3), Mixed())
    taps = {"1": TapPoint(model[1])}
    trace = Trace(
        model,
        [torch.rand(2, 4)],
        taps=list(taps.values()),
        key=lambda output: output[0],
        differentiable=False,
    )
    (place,) = places_of(LayerChoice(model, "1", None), taps, trace.calls)
    assert [tuple(one.shape) for one in place.values] == [(2, 3)]
    assert place.restore(iter(["found"]), lambda one: "zeros") == [("found", "zeros")]

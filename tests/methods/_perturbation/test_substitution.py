"""A model as a function of its layers' values."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_same, noise, refused, seeded
from torch import Tensor, nn

from torchattr.core.undoing import undoing
from torchattr.errors import LayerError
from torchattr.layers import TapPoint, Trace
from torchattr.methods._gradient.layer_choice import Calls, LayerChoice
from torchattr.methods._perturbation.substitution import LayerPlace, Substitution, places_of


def places(model: nn.Module, x: Tensor, layer: str, calls: Calls | None = None) -> list[LayerPlace]:
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
    substitution = Substitution(model, places(model, x, "0"), [x], 2)
    given = noise(2, 3, seed=5)

    def run(undo: object) -> Tensor:
        substitution.hook(undo)  # type: ignore[arg-type]
        return substitution.forward(given)

    assert_same(undoing(run).detach(), given.tanh())
    assert_same(substitution.forward(given).detach(), model(x).detach())


def test_only_one_of_two_calls_is_replaced() -> None:
    model, x = seeded(Again).double(), noise(2, 4)
    given = noise(2, 4, seed=5)
    for calls, expected in (("first", model.layer(given.tanh())), ("last", given)):
        substitution = Substitution(model, places(model, x, "layer", calls), [x], 2)  # type: ignore[arg-type]

        def run(undo: object, substitution: Substitution = substitution) -> Tensor:
            substitution.hook(undo)  # type: ignore[arg-type]
            return substitution.forward(given)

        assert_same(undoing(run).detach(), expected.detach())


def test_calls_that_cannot_be_told_apart_are_refused() -> None:
    """A checkpointed part runs again in the backward, without the rest of the model."""
    model, x = seeded(Again).double(), noise(2, 4)
    substitution = Substitution(model, places(model, x, "layer", "last"), [x], 2)

    def run(undo: object) -> None:
        substitution.hook(undo)  # type: ignore[arg-type]
        substitution.forward(x)
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


class Beside(nn.Module):
    """What is beside the layer meets it again, in one of several ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.before, self.layer = nn.Linear(4, 4), nn.Linear(4, 4)
        self.way = way
        self.rows: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        z = self.layer(self.before(x))
        if self.way == "sum":
            return z + x
        if self.way == "rows":
            # The rows of the rest, written down: one example seems to be all there is.
            return (z + z.view(len(x), -1, 4).mean(1).repeat_interleave(len(z) // len(x), 0)).tanh()
        return z.tanh()


@pytest.mark.parametrize(
    ("way", "count", "expected"),
    [
        ("chain", 1, True),
        ("chain", 3, True),
        ("sum", 3, False),
        ("sum", 1, True),
        ("rows", 1, False),
    ],
)
def test_the_rest_runs_once_where_that_is_the_same(way: str, count: int, expected: bool) -> None:
    model, x = seeded(Beside, way).double(), noise(count, 4)
    substitution = Substitution(model, places(model, x, "layer"), [x], count)
    points = noise(2 * count, 4, seed=5)

    def run(undo: object) -> None:
        substitution.hook(undo)  # type: ignore[arg-type]
        before = substitution.forward(points)
        assert substitution.run_rest_once([points], None) == expected
        model.rows.clear()
        assert_same(substitution.forward(points).detach(), before.detach(), 1e-12)
        assert model.rows == [count if expected else 2 * count]

    undoing(run)

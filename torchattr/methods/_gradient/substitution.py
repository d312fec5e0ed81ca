"""A model as a function of the values of some of its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from torchattr.core.pytree import with_tensors
from torchattr.core.types import Forward
from torchattr.core.undoing import Undo
from torchattr.errors import LayerError
from torchattr.incremental import run_by
from torchattr.layers import Captured, TapPoint, ThreadHook, hook_forward, on_input, on_output
from torchattr.methods._gradient.layer_choice import LayerChoice


@dataclass(frozen=True)
class Place:
    """Where values stand in for those of a layer.

    Attributes:
        name: the layer's name.
        tap: its output or input.
        calls: how often it is called.
        counted: the calls that count, by number.
        captured: the clean values of each of these.
    """

    name: str
    tap: TapPoint
    calls: int
    counted: tuple[int, ...]
    captured: tuple[Captured, ...]

    @property
    def values(self) -> list[Tensor]:
        """The clean values that may vary: the floating ones."""
        return [
            value for call in self.captured for value in call.values if value.is_floating_point()
        ]

    def restore(self, found: Iterator[Any], otherwise: Callable[[Tensor], Any]) -> list[Any]:
        """Return results for the values of each call that counts, in the layer's containers."""
        return [
            call.restore(
                [
                    next(found) if value.is_floating_point() else otherwise(value)
                    for value in call.values
                ]
            )
            for call in self.captured
        ]


def places_of(
    layers: LayerChoice, taps: Mapping[str, TapPoint], calls: Callable[[TapPoint], list[Captured]]
) -> list[Place]:
    """Return where the layers' values are, given the calls in a forward."""
    places = []
    for name, tap in taps.items():
        found = calls(tap)
        counted = tuple(layers.counted(name, len(found)))
        own = tuple(found[number] for number in counted)
        places.append(Place(name, tap, len(found), counted, own))
    return places


class Substitution:
    """Runs a model with given values in place of those of some layers.

    It is made for one call of a method and one thread. Its hooks stay for that call, since a
    checkpointed part runs again in the backward.

    Args:
        model: the model.
        places: where values are replaced.

    Attributes:
        forward: the function `(*values, *arguments)` of the values and the model's own arguments.
    """

    def __init__(self, model: Forward, places: Sequence[Place]) -> None:
        self._places = places
        self._count = sum(len(place.values) for place in places)
        self._given: dict[tuple[TapPoint, int], list[Tensor]] = {}
        self._calls: dict[TapPoint, int] = {}
        self._is_forward = False
        self.forward: Forward = run_by(model, self._run)

    def hook(self, undo: Undo) -> None:
        """Replace the values in this thread, until that is undone."""
        for place in self._places:
            hook = (on_input if place.tap.of_input else on_output)(self._note(place))
            before = place.tap.of_input
            hook_forward(undo, place.tap.module, ThreadHook(hook), before=before)

    def _run(self, model: Callable[..., Any], values: Sequence[Any]) -> Any:
        remaining = iter(values[: self._count])
        self._given = {
            (place.tap, number): [
                next(remaining) for value in call.values if value.is_floating_point()
            ]
            for place in self._places
            for number, call in zip(place.counted, place.captured, strict=True)
        }
        self._calls = dict.fromkeys((place.tap for place in self._places), 0)
        self._is_forward = True
        try:
            return model(*values[self._count :])
        finally:
            self._is_forward = False

    def _note(self, place: Place) -> Callable[[Any], Any]:
        def replaced(value: Any) -> Any:
            given = self._given.get((place.tap, self._number(place)))
            if given is None:
                return value
            own = iter(given)
            return with_tensors(value, lambda one: next(own) if one.is_floating_point() else one)

        return replaced

    def _number(self, place: Place) -> int:
        """Return the number of the call that runs now."""
        if self._is_forward:
            self._calls[place.tap] += 1
            return self._calls[place.tap] - 1
        if place.calls > 1:
            raise LayerError(
                f"layer {place.name!r} is called {place.calls} times in a checkpointed part of the"
                " model, which runs again in the backward, where its calls cannot be told apart;"
                " choose another layer, or disable checkpointing"
            )
        return 0

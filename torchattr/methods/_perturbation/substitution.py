"""A model as a function of the values of some of its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchattr.core.device_faults import raise_if_lost
from torchattr.core.pytree import with_tensors
from torchattr.core.types import Forward, OutputKey
from torchattr.core.undoing import Undo
from torchattr.errors import LayerError
from torchattr.incremental import run_by
from torchattr.layers import (
    Captured,
    TapPoint,
    ThreadHook,
    Trace,
    hook_forward,
    on_input,
    on_output,
)
from torchattr.methods._gradient.layer_choice import LayerChoice
from torchattr.methods._gradient.rows import UNFIT
from torchattr.methods._perturbation.batch_repeat import repeat_arguments


@dataclass(frozen=True)
class LayerPlace:
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
) -> list[LayerPlace]:
    """Return where the layers' values are, given the calls in a forward."""
    places = []
    for name, tap in taps.items():
        found = calls(tap)
        counted = tuple(layers.counted(name, len(found)))
        own = tuple(found[number] for number in counted)
        places.append(LayerPlace(name, tap, len(found), counted, own))
    return places


class Substitution:
    """Runs a model with given values in place of those of some layers.

    It is made for one call of a method and one thread. Its hooks stay for that call, since a
    checkpointed part runs again in the backward.

    Args:
        model: the model.
        places: where values are replaced.
        arguments: the model's own inputs and further arguments, for one batch.
        batch_size: number of examples in that.
    """

    def __init__(
        self,
        model: Forward,
        places: Sequence[LayerPlace],
        arguments: Sequence[Any],
        batch_size: int,
    ) -> None:
        self._places = places
        self._arguments, self._batch = arguments, batch_size
        self._runs_rest_once = False
        self._given: dict[tuple[TapPoint, int], list[Tensor]] = {}
        self._calls: dict[TapPoint, int] = {}
        self._is_forward = False
        self._model = model

    @property
    def forward(self) -> Forward:
        """The function of copies of the values, one after the other."""
        return run_by(self._model, self._run)

    def run_rest_once(
        self, points: Sequence[Tensor], key: OutputKey, taps: Sequence[TapPoint] = ()
    ) -> bool:
        """Run what does not depend on the values once for all copies, if the model allows that.

        Where all that follows comes from the values, the rest may have the rows of one batch. That
        is tried: what is read for some copies must be the same either way, up to rounding.

        Args:
            points: some copies of the values, unlike each other.
            key: which entry of the output holds the scores.
            taps: where values are read beside the output: those of a neuron may come before the
                layers, in the rest.

        Returns:
            whether it does.
        """
        expected = self._read(points, key, taps)
        self._runs_rest_once = True
        try:
            found = self._read(points, key, taps)
            self._runs_rest_once = len(found) == len(expected) and all(
                map(_is_close, found, expected)
            )
        except UNFIT as error:
            raise_if_lost(error)
            self._runs_rest_once = False
        return self._runs_rest_once

    def _read(
        self, points: Sequence[Tensor], key: OutputKey, taps: Sequence[TapPoint]
    ) -> list[Tensor]:
        """Return the output, and the floating values at tap points."""
        trace = Trace(self.forward, points, taps=taps, key=key, differentiable=False)
        values = [one for tap in taps for call in trace.calls(tap) for one in call.values]
        return [trace.output, *(one for one in values if one.is_floating_point())]

    def hook(self, undo: Undo) -> None:
        """Replace the values in this thread, until that is undone."""
        for place in self._places:
            hook = (on_input if place.tap.of_input else on_output)(self._note(place))
            before = place.tap.of_input
            hook_forward(undo, place.tap.module, ThreadHook(hook), before=before)

    def _run(self, model: Callable[..., Any], values: Sequence[Any]) -> Any:
        remaining = iter(values)
        self._given = {
            (place.tap, number): [
                next(remaining) for value in call.values if value.is_floating_point()
            ]
            for place in self._places
            for number, call in zip(place.counted, place.captured, strict=True)
        }
        self._calls = dict.fromkeys((place.tap for place in self._places), 0)
        copies = 1 if self._runs_rest_once else len(values[0]) // max(self._batch, 1)
        self._is_forward = True
        try:
            return model(*repeat_arguments(self._arguments, copies, self._batch))
        finally:
            self._is_forward = False

    def _note(self, place: LayerPlace) -> Callable[[Any], Any]:
        def replaced(value: Any) -> Any:
            given = self._given.get((place.tap, self._number(place)))
            if given is None:
                return value
            own = iter(given)
            return with_tensors(value, lambda one: next(own) if one.is_floating_point() else one)

        return replaced

    def _number(self, place: LayerPlace) -> int:
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


def _is_close(found: Tensor, expected: Tensor) -> bool:
    """Whether two outputs are the same up to the rounding of other kernels."""
    if found.shape != expected.shape:
        return False
    rounding = torch.finfo(expected.dtype).eps ** 0.6 if expected.is_floating_point() else 0
    size = float(expected.abs().max()) if expected.numel() else 0.0
    return bool(((found - expected).abs() <= rounding * size).all())

"""Layouts of layers that an earlier forward of the same shapes followed.

Following them intercepts each call of a forward, which takes longer than the forward itself where
that is small. They are a property of the model and of its inputs' shapes, so one forward is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from torchattr.core.by_model import ByModel
from torchattr.core.types import Forward
from torchattr.layers.capture import Captured, TapPoint

_Key: TypeAlias = tuple[bool, tuple[torch.Size, ...]]
"""Whether it is the module's input, and the shapes of the model's inputs."""

KnownCalls: TypeAlias = Mapping[TapPoint, Sequence[Captured]]
"""The calls at each tap point in an earlier forward, without their values."""

_MOST_KEYS = 32
"""The shapes of inputs that are remembered for each module of a model; the oldest are dropped."""

_known: WeakKeyDictionary[nn.Module, ByModel[dict[_Key, list[Captured]]]] = WeakKeyDictionary()
"""By the module and the model around it."""


def known_calls(
    model: Forward, taps: Sequence[TapPoint], inputs: Sequence[Tensor]
) -> KnownCalls | None:
    """Return the calls whose layouts are known; `None` unless all of them are.

    Args:
        model: the model.
        taps: the tap points, of which only those with a layout count.
        inputs: the model's inputs.
    """
    found = {tap: _of(model, tap).get(_key(tap, inputs)) for tap in taps if tap.with_layout}
    calls = {tap: earlier for tap, earlier in found.items() if earlier is not None}
    return calls if len(calls) == len(found) else None


def note_calls(
    model: Forward,
    inputs: Sequence[Tensor],
    calls: Mapping[TapPoint, Sequence[Captured]],
) -> None:
    """Remember the layouts of a forward that followed them."""
    for tap, captured in calls.items():
        if tap.with_layout:
            known = _of(model, tap)
            known[_key(tap, inputs)] = [replace(call, values=(), edges=()) for call in captured]
            while len(known) > _MOST_KEYS:
                known.pop(next(iter(known)), None)


def _of(model: Forward, tap: TapPoint) -> dict[_Key, list[Captured]]:
    return _known.setdefault(tap.module, ByModel()).setdefault(model, {})


def _key(tap: TapPoint, inputs: Sequence[Tensor]) -> _Key:
    return tap.of_input, tuple(tensor.shape for tensor in inputs)

"""Functions that move elements about: what they do to axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchattr.layers.layouts.axes import (
    OTHER,
    Axes,
    Axis,
    Label,
    axis,
    joined,
    others,
    reshaped,
    resized,
)
from torchattr.layers.layouts.calls import FunctionCall, flat, tensors_in

FAILURES = (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError)


@dataclass(frozen=True)
class MovedAxes:
    """A coordinate whose places are shifted in a circle, mirrored, or made to frequencies.

    Attributes:
        label: the coordinate.
        kind: what was done: `"roll"`, `"flip"`, `"fft"`, `"fftshift"` or `"warp"`.
        amount: how far it is shifted.
    """

    label: Label
    kind: str
    amount: int


def shaped(call: FunctionCall) -> list[Axes]:
    axes = call.source
    if axes is None:
        return call.unknown()
    return [reshaped(axes, output.shape) for output in call.outputs]


def viewed(call: FunctionCall) -> list[Axes]:
    """Ask the function itself, with a tensor whose strides tell its dimensions apart."""
    source = call.tensors[0]
    axes = call.known(source)
    if axes is None:
        return call.unknown()
    # Not the shape of the source itself: it may have been changed in place.
    shape = [one.size for one in axes]
    strides = _marks(shape)
    try:
        probe = torch.empty_strided(shape, strides, device="meta")
        marked = call.function(
            *_replaced(call.args, source, probe), **_replaced(call.kwargs, source, probe)
        )
    except FAILURES:
        return call.unknown()
    views = list(tensors_in([marked]))
    if len(views) != len(call.outputs):
        return call.unknown()
    return [
        _decoded(view, axes, strides) if view._is_view() or view is probe else others(output.shape)
        for view, output in zip(views, call.outputs, strict=True)
    ]


def picked(call: FunctionCall) -> list[Axes]:
    """Index: a list takes the coordinate away, as it does to make RGB of BGR; a slice does not."""
    keys = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
    lists = [i for i, key in enumerate(keys) if isinstance(key, (list, Tensor, np.ndarray))]
    if len(lists) != 1:
        return viewed(call)
    (output,) = call.outputs
    # An empty slice in its stead shows which dimension it is.
    without = tuple(slice(0) if i in lists else key for i, key in enumerate(keys))
    (axes,) = viewed(replace(call, args=(call.args[0], without)))
    if len(axes) != output.dim():
        return call.unknown()
    return [
        tuple(
            one if one.size else axis(OTHER, size)
            for one, size in zip(axes, output.shape, strict=True)
        )
    ]


def along(call: FunctionCall) -> list[Axes]:
    """What sorts or picks along one dimension takes its coordinate away; copies enlarge it."""
    source = call.source
    name = call.name
    position, changed = _POSITIONS[name], resized if name == "repeat_interleave" else _lost
    named = call.argument(position, "dim", default=-1)
    if source is None or not isinstance(named, int):
        return call.unknown()
    return [
        tuple(
            changed(one, output.shape[dim]) if dim == named % len(source) else one
            for dim, one in enumerate(source)
        )
        if output.dim() == len(source)
        else others(output.shape)
        for output in call.outputs
    ]


def _lost(one: Axis, size: int) -> Axis:
    return axis(OTHER, size)


_POSITIONS = {
    **dict.fromkeys(
        ["sort", "argsort", "glu", "index_select", "gather", "scatter", "scatter_add"], 1
    ),
    **dict.fromkeys(["index_add", "index_copy", "index_fill"], 1),
    **dict.fromkeys(["topk", "take_along_dim", "repeat_interleave"], 2),
}
"""Where functions name their dimension."""


def repeated(call: FunctionCall) -> list[Axes]:
    """Copies side by side: of gray values for three channels, say."""
    source = call.source
    (output,) = call.outputs
    if source is None:
        return call.unknown()
    before = (Axis(),) * (output.dim() - len(source))
    return [
        tuple(
            one if one.size == size else axis(OTHER, size)
            for one, size in zip((*before, *source), output.shape, strict=True)
        )
    ]


def _replaced(value: Any, old: Tensor, new: Tensor) -> Any:
    if value is old:
        return new
    if type(value) in (list, tuple):
        return type(value)(_replaced(one, old, new) for one in value)
    if type(value) is dict:
        return {name: _replaced(one, old, new) for name, one in value.items()}
    return value


def _marks(shape: Sequence[int]) -> list[int]:
    """Return strides of which every multiple up to its dimension's size belongs to it alone."""
    strides = [2]
    for size in shape[:-1]:
        strides.append(strides[-1] * (size + 2))
    return strides[: len(shape)]


def _decoded(view: Tensor, axes: Axes, strides: Sequence[int]) -> Axes:
    """Read the strides of a view: which dimension each one is of, and where it starts."""
    sources = [_source(stride, axes, strides) for stride in view.stride()]
    found = []
    for dim, size in enumerate(view.shape):
        source = sources[dim]
        # A dimension of size 1 may be new, and look like the one behind it.
        rivals = [d for d, other in enumerate(sources) if other == source and d != dim]
        ambiguous = any(view.shape[d] > 1 for d in rivals) or (
            size == 1 and any(d < dim for d in rivals)
        )
        if source is None or ambiguous or (size == 1 and axes[source].size != 1):
            found.append(axis(OTHER, size))
        else:
            mark = strides[source]
            start = int(view.storage_offset()) // mark % (axes[source].size + 2)
            found.append(_cut(axes[source], start, size, int(view.stride(dim)) // mark))
    return tuple(found)


def _source(stride: int, axes: Axes, strides: Sequence[int]) -> int | None:
    for dim, (one, mark) in enumerate(zip(axes, strides, strict=True)):
        if stride and stride % mark == 0 and stride // mark < one.size + 2:
            return dim
    return None


def _cut(one: Axis, start: int, size: int, step: int) -> Axis:
    """Return the part of an axis that a slice takes."""
    if size == one.size and step == 1:
        return one
    if one.is_plain:
        return resized(one, size)
    before, after = one.before - start, one.size - one.after
    inside = before >= 0 and start + size >= after and step == 1
    return Axis(one.digits, before, start + size - after) if inside else axis(OTHER, size)


def joined_along(call: FunctionCall) -> list[Axes]:
    """Concatenation: constants may stand before and after places, as class tokens do."""
    given = call.argument(0, "tensors", default=())
    tensors = [one for one in given if isinstance(one, Tensor)]
    (output,) = call.outputs
    named = call.argument(1, "dim", "axis", default=0)
    if any(one.dim() != output.dim() for one in tensors) or not isinstance(named, int):
        return call.unknown()
    dim = named % output.dim()
    parts = [call.known(tensor) or others(tensor.shape) for tensor in tensors]
    rest = joined([(*one[:dim], Axis(), *one[dim + 1 :]) for one in parts],
                  [1 if d == dim else size for d, size in enumerate(output.shape)])  # fmt: skip
    return [(*rest[:dim], _row([one[dim] for one in parts]), *rest[dim + 1 :])]


def _row(parts: Sequence[Axis]) -> Axis:
    size = sum(one.size for one in parts)
    placed = [i for i, one in enumerate(parts) if any(label != OTHER for label in one.labels)]
    if len(placed) != 1:
        return axis(OTHER, size)
    only = parts[placed[0]]
    before = sum(one.size for one in parts[: placed[0]])
    after = sum(one.size for one in parts[placed[0] + 1 :])
    return Axis(only.digits, only.before + before, only.after + after)


def stacked(call: FunctionCall) -> list[Axes]:
    given = call.argument(0, "tensors", default=())
    (output,) = call.outputs
    named = call.argument(1, "dim", default=0)
    if not isinstance(named, int):
        return call.unknown()
    dim = named % output.dim()
    parts = [call.known(one) or others(one.shape) for one in given]
    shape = [*output.shape[:dim], *output.shape[dim + 1 :]]
    rest = joined(parts, shape)
    return [(*rest[:dim], axis(OTHER, output.shape[dim]), *rest[dim:])]


def rolled(call: FunctionCall) -> list[Axes]:
    """A cyclic shift: places are known again once they are shifted back."""
    source = call.source
    shifts = call.argument(1, "shifts")
    dims = call.argument(2, "dims")
    steps = shifts if isinstance(shifts, (list, tuple)) else [shifts]
    along = dims if isinstance(dims, (list, tuple)) else [dims]
    if source is None or None in along or len(steps) != len(along):
        return call.unknown()
    found = list(source)
    for step, dim in zip(steps, along, strict=True):
        found[dim] = _shifted(found[dim], ("roll", step % max(found[dim].size, 1)))
    return [tuple(found)]


def flipped(call: FunctionCall) -> list[Axes]:
    source = call.source
    named = call.kwargs.get("dims", call.args[1:] if len(call.args) > 1 else ())
    dims = [one for one in flat(named) if isinstance(one, int)]
    if source is None:
        return call.unknown()
    marked = {dim % len(source) for dim in dims}
    return [
        tuple(
            _shifted(one, ("flip", 1)) if dim in marked else one for dim, one in enumerate(source)
        )
    ]


def transformed(call: FunctionCall) -> list[Axes]:
    """Fourier transforms: places are known again after the inverse."""
    source = call.source
    (output,) = call.outputs
    if source is None or len(source) != output.dim():
        return call.unknown()
    name = call.name
    kind, position = ("fftshift", 1) if name.endswith("shift") else ("fft", 2)
    default = {"2": (-2, -1), "n": None, "t": None if kind == "fftshift" else -1}[name[-1]]
    named = call.argument(position, "dim", default=default)
    dims = range(len(source)) if named is None else flat(named)
    changed = {dim % len(source) for dim in dims}
    return [
        tuple(
            resized(_shifted(one, (kind, 1)), output.shape[dim]) if dim in changed else one
            for dim, one in enumerate(source)
        )
    ]


def warped(call: FunctionCall) -> list[Axes]:
    """Places are taken from anywhere, so that those of the result are others."""
    source = call.source
    (output,) = call.outputs
    if source is None:
        return call.unknown()
    moved = [_shifted(one, ("warp", 1)) for one in source[2:]]
    places = [resized(one, size) for one, size in zip(moved, output.shape[2:], strict=True)]
    return [(*source[:2], *places)]


def _shifted(one: Axis, how: tuple[str, int]) -> Axis:
    """Mark a coordinate as moved, or as moved back."""
    if len(one.digits) != 1 or not one.is_plain or one.labels == (OTHER,):
        return one if one.labels in ((), (OTHER,)) else axis(OTHER, one.size)
    label = one.labels[0]
    kind, amount = how
    if isinstance(label, MovedAxes) and label.kind == kind != "warp":
        cycle = one.size if kind == "roll" else 2
        left = (label.amount + amount) % cycle
        return axis(MovedAxes(label.label, kind, left) if left else label.label, one.size)
    return axis(MovedAxes(label, kind, amount), one.size) if amount else one


def padded(call: FunctionCall) -> list[Axes]:
    source = call.source
    if source is None:
        return call.unknown()
    (output,) = call.outputs
    return [tuple(resized(one, size) for one, size in zip(source, output.shape, strict=True))]

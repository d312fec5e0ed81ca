"""The effect on axes of functions that rearrange elements: views, indexing, joining, shifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchattr.layers.layouts.axes import (
    BATCH,
    OTHER,
    Axes,
    Axis,
    Label,
    axis,
    bare,
    joined,
    others,
    padded_axis,
    reshaped,
    resized,
)
from torchattr.layers.layouts.calls import FunctionCall, flat, tensors_in

FAILURES = (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError)


@dataclass(frozen=True)
class MovedAxes:
    """A coordinate whose positions were shifted cyclically, mirrored, or Fourier-transformed.

    Attributes:
        label: the coordinate.
        kind: the transformation: `"roll"`, `"flip"`, `"fft"`, `"fftshift"` or `"warp"`.
        amount: the shift.
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
    """Run the function on a meta tensor whose strides identify its dimensions."""
    source = call.tensors[0]
    axes = call.known(source)
    if axes is None:
        return call.unknown()
    # Not the shape of the source itself, which may have been changed in place.
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
    """Indexing: a list discards the coordinate (RGB from BGR, say); a slice keeps it."""
    keys = _keys(call.args[1])
    lists = [i for i, key in enumerate(keys) if isinstance(key, (list, Tensor, np.ndarray))]
    if len(lists) != 1:
        return viewed(call)
    (output,) = call.outputs
    # An empty slice instead of the list shows which dimension it indexes.
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
    """Sorting or picking along a dimension discards its coordinate; repeating enlarges it."""
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
"""Position of the argument that names the dimension."""


def repeated(call: FunctionCall) -> list[Axes]:
    """Copies side by side: of a grayscale channel for RGB, say."""
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
    """Return strides whose multiples, up to the size of their dimension, identify it."""
    strides = [2]
    for size in shape[:-1]:
        strides.append(strides[-1] * (size + 2))
    return strides[: len(shape)]


def _decoded(view: Tensor, axes: Axes, strides: Sequence[int]) -> Axes:
    """Return the axes of a view: strides identify its dimensions, the offset where they start."""
    sources = [_source(stride, axes, strides) for stride in view.stride()]
    decoded = []
    for dim, size in enumerate(view.shape):
        source = sources[dim]
        # A dimension of size 1 may be new, with the stride of the next one.
        rivals = [d for d, other in enumerate(sources) if other == source and d != dim]
        ambiguous = any(view.shape[d] > 1 for d in rivals) or (
            size == 1 and any(d < dim for d in rivals)
        )
        if source is None or ambiguous or (size == 1 and axes[source].size != 1):
            decoded.append(axis(OTHER, size))
        else:
            mark = strides[source]
            start = int(view.storage_offset()) // mark % (axes[source].size + 2)
            decoded.append(_cut(axes[source], start, size, int(view.stride(dim)) // mark))
    return tuple(decoded)


def _source(stride: int, axes: Axes, strides: Sequence[int]) -> int | None:
    for dim, (one, mark) in enumerate(zip(axes, strides, strict=True)):
        if stride and stride % mark == 0 and stride // mark < one.size + 2:
            return dim
    return None


def _cut(one: Axis, start: int, size: int, step: int) -> Axis:
    """Return an axis after a slice."""
    if size == one.size and step == 1:
        return one
    if one.is_plain and step == 1:
        return padded_axis(one, -start, start + size - one.size, size)
    if one.is_plain:
        return resized(one, size)
    before, after = one.before - start, one.size - one.after
    inside = before >= 0 and start + size >= after and step == 1
    return Axis(one.digits, before, start + size - after) if inside else axis(OTHER, size)


def written(call: FunctionCall) -> list[Axes]:
    """Writing into a tensor keeps its axes unless the new values belong to other positions."""
    target, keys, value = call.tensors[0], call.args[1], call.argument(2, "values")
    axes = call.known(target)
    new = call.known(value) if isinstance(value, Tensor) else None
    if new is None or not any(label not in (OTHER, BATCH) for one in new for label in one.labels):
        return [] if axes is None else [axes]
    if axes is None and not _has_list(keys):
        return [new] if target[keys].shape == target.shape == value.shape else []
    place = replace(call, function=Tensor.__getitem__, args=(target, keys), kwargs={})
    return [axes] if axes is not None and _fits(place, new) else call.unknown()


def _fits(place: FunctionCall, new: Axes) -> bool:
    """Whether values may be written to a place of a tensor without moving what is known."""
    if _has_list(place.args[1]):
        return False
    view = place.args[0][place.args[1]]
    (old,) = viewed(replace(place, outputs=[view]))
    both = joined([old, new], view.shape)
    return all(bare(one) == bare(other) for one, other in zip(old, both, strict=True))


def _has_list(keys: Any) -> bool:
    return any(isinstance(key, (list, Tensor, np.ndarray)) for key in _keys(keys))


def _keys(keys: Any) -> tuple[Any, ...]:
    return keys if isinstance(keys, tuple) else (keys,)


def joined_along(call: FunctionCall) -> list[Axes]:
    """Concatenation: constants, such as class tokens, may come before and after known positions."""
    given = call.argument(0, "tensors", default=())
    tensors = [tensor for tensor in given if isinstance(tensor, Tensor)]
    (output,) = call.outputs
    named = call.argument(1, "dim", "axis", default=0)
    if any(tensor.dim() != output.dim() for tensor in tensors) or not isinstance(named, int):
        return call.unknown()
    dim = named % output.dim()
    sources = [call.known(tensor) or others(tensor.shape) for tensor in tensors]
    rest = joined([(*axes[:dim], Axis(), *axes[dim + 1 :]) for axes in sources],
                  [1 if d == dim else size for d, size in enumerate(output.shape)])  # fmt: skip
    return [(*rest[:dim], _concatenated([axes[dim] for axes in sources]), *rest[dim + 1 :])]


def _concatenated(pieces: Sequence[Axis]) -> Axis:
    known = [i for i, piece in enumerate(pieces) if any(label != OTHER for label in piece.labels)]
    if len(known) != 1:
        return axis(OTHER, sum(piece.size for piece in pieces))
    only = pieces[known[0]]
    before = sum(piece.size for piece in pieces[: known[0]])
    after = sum(piece.size for piece in pieces[known[0] + 1 :])
    return Axis(only.digits, only.before + before, only.after + after)


def stacked(call: FunctionCall) -> list[Axes]:
    given = call.argument(0, "tensors", default=())
    (output,) = call.outputs
    named = call.argument(1, "dim", default=0)
    if not isinstance(named, int):
        return call.unknown()
    dim = named % output.dim()
    sources = [call.known(tensor) or others(tensor.shape) for tensor in given]
    shape = [*output.shape[:dim], *output.shape[dim + 1 :]]
    rest = joined(sources, shape)
    return [(*rest[:dim], axis(OTHER, output.shape[dim]), *rest[dim:])]


def rolled(call: FunctionCall) -> list[Axes]:
    """A cyclic shift: positions are known again once they are shifted back."""
    source = call.source
    shifts = call.argument(1, "shifts")
    dims = call.argument(2, "dims")
    steps = shifts if isinstance(shifts, (list, tuple)) else [shifts]
    along = dims if isinstance(dims, (list, tuple)) else [dims]
    if source is None or None in along or len(steps) != len(along):
        return call.unknown()
    shifted = list(source)
    for step, dim in zip(steps, along, strict=True):
        shifted[dim] = _moved(shifted[dim], ("roll", step % max(shifted[dim].size, 1)))
    return [tuple(shifted)]


def flipped(call: FunctionCall) -> list[Axes]:
    source = call.source
    named = call.kwargs.get("dims", call.args[1:] if len(call.args) > 1 else ())
    dims = [dim for dim in flat(named) if isinstance(dim, int)]
    if source is None:
        return call.unknown()
    marked = {dim % len(source) for dim in dims}
    return [
        tuple(_moved(one, ("flip", 1)) if dim in marked else one for dim, one in enumerate(source))
    ]


def transformed(call: FunctionCall) -> list[Axes]:
    """Fourier transforms: positions are known again after the inverse."""
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
            resized(_moved(one, (kind, 1)), output.shape[dim]) if dim in changed else one
            for dim, one in enumerate(source)
        )
    ]


def warped(call: FunctionCall) -> list[Axes]:
    """Sampling from a grid: elements come from anywhere, so the positions are no longer known."""
    source = call.source
    (output,) = call.outputs
    if source is None:
        return call.unknown()
    moved = [_moved(one, ("warp", 1)) for one in source[2:]]
    spatial = [resized(one, size) for one, size in zip(moved, output.shape[2:], strict=True)]
    return [(*source[:2], *spatial)]


def _moved(one: Axis, how: tuple[str, int]) -> Axis:
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
    """Padding: what it adds lies outside of the coordinate; what it cuts off is ignored."""
    source = call.source
    if source is None:
        return call.unknown()
    (output,) = call.outputs
    widths = call.argument(1, "pad", "padding", default=())
    pairs = list(zip(widths[::2], widths[1::2], strict=True))[::-1]
    pairs = [(0, 0)] * (len(source) - len(pairs)) + pairs
    return [
        tuple(
            padded_axis(one, *pair, size) if any(pair) else one
            for one, pair, size in zip(source, pairs, output.shape, strict=True)
        )
    ]

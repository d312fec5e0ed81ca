"""Functions that move elements about: what they do to axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchattr.layers.axes import OTHER, Axes, Axis, Label, axis, joined, others, reshaped, resized
from torchattr.layers.axis_calls import Lookup, flat, known_of, tensors_in, unknown

FAILURES = (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError)


@dataclass(frozen=True)
class Moved:
    """A coordinate whose places are shifted in a circle, or mirrored.

    Attributes:
        label: the coordinate.
        kind: `"roll"` or `"flip"`.
        amount: how far it is shifted.
    """

    label: Label
    kind: str
    amount: int


def shaped(
    function: Any, args: Any, kwargs: Any, outputs: Sequence[Tensor], known: Lookup
) -> list[Axes]:
    axes = known_of(args, kwargs, known)[0]
    return [reshaped(axes, output.shape) for output in outputs]


def viewed(
    function: Any, args: Any, kwargs: Any, outputs: Sequence[Tensor], known: Lookup
) -> list[Axes]:
    """Ask the function itself, with a tensor whose strides tell its dimensions apart."""
    source = next(one for one in tensors_in([args, kwargs]) if known(one) is not None)
    axes = known(source) or ()
    base = max([*source.shape, 2]) + 1
    strides = [base ** (dim + 1) for dim in range(source.dim())]
    probe = torch.empty_strided(source.shape, strides, device="meta")
    try:
        marked = function(*_replaced(args, source, probe), **_replaced(kwargs, source, probe))
    except FAILURES:
        return unknown(function, args, kwargs, outputs, known)
    views = list(tensors_in([marked]))
    if len(views) != len(outputs):
        return unknown(function, args, kwargs, outputs, known)
    return [
        _decoded(view, axes, base) if view._is_view() or view is probe else others(output.shape)
        for view, output in zip(views, outputs, strict=True)
    ]


def _replaced(value: Any, old: Tensor, new: Tensor) -> Any:
    if value is old:
        return new
    if type(value) in (list, tuple):
        return type(value)(_replaced(one, old, new) for one in value)
    if type(value) is dict:
        return {name: _replaced(one, old, new) for name, one in value.items()}
    return value


def _decoded(view: Tensor, axes: Axes, base: int) -> Axes:
    """Read the strides of a view: which dimension each one is of, and where it starts."""
    sources = [_source(stride, len(axes), base) for stride in view.stride()]
    found = []
    for dim, size in enumerate(view.shape):
        source = sources[dim]
        # A dimension of size 1 may be new, and look like any other.
        rivals = [d for d, other in enumerate(sources) if other == source and d != dim]
        ambiguous = any(view.shape[d] > 1 for d in rivals) or any(d < dim for d in rivals)
        if source is None or ambiguous or (size == 1 and axes[source].size != 1):
            found.append(axis(OTHER, size))
        else:
            start = view.storage_offset() // base ** (source + 1) % base
            found.append(_cut(axes[source], start, size, view.stride(dim) // base ** (source + 1)))
    return tuple(found)


def _source(stride: int, dims: int, base: int) -> int | None:
    for dim in reversed(range(dims)):
        if stride and stride % base ** (dim + 1) == 0 and stride // base ** (dim + 1) < base:
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


def joined_along(
    function: Any, args: Any, kwargs: Any, outputs: Sequence[Tensor], known: Lookup
) -> list[Axes]:
    """Concatenation: constants may stand before and after places, as class tokens do."""
    given = args[0] if args else kwargs.get("tensors", ())
    tensors = [one for one in given if isinstance(one, Tensor)]
    (output,) = outputs
    named = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else 0))
    if any(one.dim() != output.dim() for one in tensors) or not isinstance(named, int):
        return unknown(function, args, kwargs, outputs, known)
    dim = named % output.dim()
    parts = [known(tensor) or others(tensor.shape) for tensor in tensors]
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


def stacked(
    function: Any, args: Any, kwargs: Any, outputs: Sequence[Tensor], known: Lookup
) -> list[Axes]:
    given = args[0] if args else kwargs.get("tensors", ())
    (output,) = outputs
    named = kwargs.get("dim", args[1] if len(args) > 1 else 0)
    if not isinstance(named, int):
        return unknown(function, args, kwargs, outputs, known)
    dim = named % output.dim()
    parts = [known(one) or others(one.shape) for one in given]
    shape = [*output.shape[:dim], *output.shape[dim + 1 :]]
    rest = joined(parts, shape)
    return [(*rest[:dim], axis(OTHER, output.shape[dim]), *rest[dim:])]


def rolled(
    function: Any, args: Any, kwargs: Any, outputs: Sequence[Tensor], known: Lookup
) -> list[Axes]:
    """A cyclic shift: places are known again once they are shifted back."""
    source = known(next(tensors_in([args, kwargs])))
    shifts = kwargs.get("shifts", args[1] if len(args) > 1 else None)
    dims = kwargs.get("dims", args[2] if len(args) > 2 else None)
    steps = shifts if isinstance(shifts, (list, tuple)) else [shifts]
    along = dims if isinstance(dims, (list, tuple)) else [dims]
    if source is None or None in along or len(steps) != len(along):
        return unknown(function, args, kwargs, outputs, known)
    found = list(source)
    for step, dim in zip(steps, along, strict=True):
        found[dim] = _shifted(found[dim], ("roll", step % max(found[dim].size, 1)))
    return [tuple(found)]


def flipped(
    function: Any, args: Any, kwargs: Any, outputs: Sequence[Tensor], known: Lookup
) -> list[Axes]:
    source = known(next(tensors_in([args, kwargs])))
    named = kwargs.get("dims", args[1:] if len(args) > 1 else ())
    dims = [one for one in flat(named) if isinstance(one, int)]
    if source is None:
        return unknown(function, args, kwargs, outputs, known)
    marked = {dim % len(source) for dim in dims}
    return [
        tuple(
            _shifted(one, ("flip", 1)) if dim in marked else one for dim, one in enumerate(source)
        )
    ]


def _shifted(one: Axis, how: tuple[str, int]) -> Axis:
    """Mark a coordinate as moved, or as moved back."""
    if len(one.digits) != 1 or not one.is_plain or one.labels == (OTHER,):
        return one if one.labels in ((), (OTHER,)) else axis(OTHER, one.size)
    label = one.labels[0]
    kind, amount = how
    if isinstance(label, Moved) and label.kind == kind:
        cycle = one.size if kind == "roll" else 2
        left = (label.amount + amount) % cycle
        return axis(Moved(label.label, kind, left) if left else label.label, one.size)
    return axis(Moved(label, kind, amount), one.size) if amount else one


def padded(
    function: Any, args: Any, kwargs: Any, outputs: Sequence[Tensor], known: Lookup
) -> list[Axes]:
    source = known(next(tensors_in([args, kwargs])))
    if source is None:
        return unknown(function, args, kwargs, outputs, known)
    (output,) = outputs
    return [tuple(resized(one, size) for one, size in zip(source, output.shape, strict=True))]

"""Where a tensor's dimensions come from: the batch, a spatial dimension of an input, or neither.

A dimension is described by the digits of the coordinates that it runs over, the slowest first. A
flattened 8 × 8 grid has one dimension with the digits of both coordinates; a grid split into
windows has the low digits of a coordinate in one dimension and the high ones in another.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

BATCH = "batch"
OTHER = "other"
"""Not spatial: channels, heads, and everything unknown."""

Label: TypeAlias = Hashable
"""A coordinate: `BATCH`, `OTHER`, or a dimension of an input."""


@dataclass(frozen=True)
class Padded:
    """A coordinate with positions outside of it on either side.

    Attributes:
        label: the coordinate.
        before: number of positions before it.
        after: number of positions after it.
    """

    label: Label
    before: int
    after: int


@dataclass(frozen=True)
class Digit:
    """One digit of a coordinate.

    Attributes:
        label: the coordinate.
        size: number of its values.
        weight: distance along the coordinate between two of its values.
    """

    label: Label
    size: int
    weight: int = 1


@dataclass(frozen=True)
class Axis:
    """One dimension of a tensor.

    Attributes:
        digits: the digits that it runs over, the slowest first; none for a dimension of size 1.
        before: number of other elements before these, such as a class token.
        after: number of other elements after them.
    """

    digits: tuple[Digit, ...] = ()
    before: int = 0
    after: int = 0

    @property
    def size(self) -> int:
        return self.before + prod(digit.size for digit in self.digits) + self.after

    @property
    def labels(self) -> tuple[Label, ...]:
        return tuple(digit.label for digit in self.digits)

    @property
    def is_plain(self) -> bool:
        return not (self.before or self.after)


Axes: TypeAlias = tuple[Axis, ...]


def axis(label: Label, size: int) -> Axis:
    """Return an axis that runs over one coordinate.

    >>> axis(BATCH, 3).labels, axis(BATCH, 1).labels
    (('batch',), ('batch',))
    """
    return Axis((Digit(label, size),)) if size != 1 or label != OTHER else Axis()


def others(shape: Sequence[int]) -> Axes:
    """Return unknown axes for a tensor of this shape."""
    return tuple(axis(OTHER, size) for size in shape)


def resized(old: Axis, size: int) -> Axis:
    """Return an axis after its size has changed by a window, a stride or an interpolation.

    >>> resized(axis("y", 8), 4).digits, resized(axis("y", 8), 6) == axis("y", 6)
    ((Digit(label='y', size=4, weight=2),), True)
    """
    if size == old.size:
        return old
    known = [label for label in old.labels if label != OTHER]
    if len(known) != 1 or not old.is_plain:
        return axis(OTHER, size)
    if isinstance(known[0], Padded):
        return padded_axis(bare(old), *_outside(known[0], old.size, size), size)
    if len(old.digits) == 1 and size and old.size % size == 0:
        return Axis((Digit(known[0], size, old.digits[0].weight * (old.size // size)),))
    return axis(known[0], size)


def _outside(padded: Padded, old: int, size: int) -> tuple[int, int]:
    """Return how many of `size` positions, spread over `old` ones, are centred outside."""
    if size > old:
        return round(padded.before * size / old), round(padded.after * size / old)
    step = old // size if size else 1
    first = (old - 1 - step * (size - 1)) / 2
    centres = [first + step * number for number in range(size)]
    before = sum(centre < padded.before - 0.5 for centre in centres)
    after = sum(centre > old - padded.after - 0.5 for centre in centres)
    # A window that reaches beyond all of the coordinate has mixed what lies outside into it.
    return (before, after) if before + after < size else (0, 0)


def padded_axis(one: Axis, before: int, after: int, size: int) -> Axis:
    """Return the axis of `size` positions of which some lie outside of its coordinate.

    Where they would be less than none, a part of the coordinate was cut off: it counts as whole.

    >>> padded_axis(axis("y", 4), 1, 0, 5).labels, padded_axis(axis("y", 4), -1, 0, 3).labels
    ((Padded(label='y', before=1, after=0),), ('y',))
    """
    known = [label for label in one.labels if label != OTHER]
    if len(known) != 1 or not one.is_plain:
        return one if one.size == size else axis(OTHER, size)
    label = known[0]
    if isinstance(label, Padded):
        before, after, label = before + label.before, after + label.after, label.label
    before, after = max(before, 0), max(after, 0)
    if before + after >= size:
        return axis(OTHER, size)
    return axis(Padded(label, before, after) if before or after else label, size)


def bare_label(label: Label) -> Label:
    """Return a coordinate without the positions outside of it."""
    return label.label if isinstance(label, Padded) else label


def bare(one: Axis) -> Axis:
    """Return an axis as if all of its positions lay inside of its coordinate."""
    if not any(isinstance(label, Padded) for label in one.labels):
        return one
    return replace(one, digits=tuple(replace(d, label=bare_label(d.label)) for d in one.digits))


def whole(axes: Axes) -> Axes:
    """Treat a coordinate of which a single digit is left as the whole coordinate.

    >>> whole((Axis((Digit("y", 4, 2),)),)) == (axis("y", 4),)
    True
    """
    if all(digit.weight == 1 for one in axes for digit in one.digits):
        return axes
    labels = [label for one in axes for label in one.labels]
    return tuple(
        replace(
            one,
            digits=tuple(
                replace(digit, weight=1) if labels.count(digit.label) == 1 else digit
                for digit in one.digits
            ),
        )
        for one in axes
    )


def joined(several: Sequence[Axes], shape: Sequence[int]) -> Axes:
    """Return the axes of the result of tensors that are broadcast together.

    They are aligned, so what is known of one of them holds for all. Where they contradict each
    other, the axis is unknown.
    """
    result = []
    for dim, size in enumerate(shape):
        back = dim - len(shape)
        result.append(_joined([axes[back] for axes in several if len(axes) >= -back], size))
    return tuple(result)


def _joined(candidates: Sequence[Axis], size: int) -> Axis:
    fitting = [one for one in candidates if one.size == size]
    known = [one for one in fitting if any(label != OTHER for label in one.labels)]
    best = min(known, key=_vagueness, default=axis(OTHER, size))
    return best if all(_agree(one, best) for one in known) else axis(OTHER, size)


def _vagueness(one: Axis) -> tuple[int, int]:
    """Return how much is unknown of an axis, and then how much is said to lie outside of it."""
    padded = [label for label in one.labels if isinstance(label, Padded)]
    return one.labels.count(OTHER), sum(label.before + label.after for label in padded)


def _agree(vague: Axis, sure: Axis) -> bool:
    """Whether two axes agree as far as the first one is known."""
    vague, sure = bare(vague), bare(sure)
    if vague == sure:
        return True
    if not (vague.is_plain and sure.is_plain and OTHER in vague.labels):
        return False
    rest = list(sure.digits)
    for digit in vague.digits:
        taken = _taken(rest, digit.size)
        if taken is None or digit.label not in (OTHER, *(one.label for one in taken[:1])):
            return False
    return True


def reshaped(axes: Axes, shape: Sequence[int]) -> Axes:
    """Return the axes after a reshape: digits are split and merged, never reordered.

    >>> tokens = reshaped((axis(BATCH, 2), axis("y", 4), axis("x", 4)), (2, 16))
    >>> tokens[1].labels, reshaped(tokens, (2, 4, 4))[2] == axis("x", 4)
    (('y', 'x'), True)
    """
    if prod(one.size for one in axes) == 0:
        return others(shape)
    result: list[Axis] = []
    for old, new in _groups([one.size for one in axes], list(shape)):
        result += _regrouped([axes[dim] for dim in old], [shape[dim] for dim in new])
    return tuple(result)


def _groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Return matching runs of old and new dimensions that hold the same elements."""
    groups: list[tuple[list[int], list[int]]] = []
    first, second = list(range(len(old))), list(range(len(new)))
    while first or second:
        left, right = first[:1], second[:1]
        del first[:1], second[:1]
        while prod(old[i] for i in left) != prod(new[i] for i in right):
            shorter = prod(old[i] for i in left) < prod(new[i] for i in right)
            source, taken = (first, left) if shorter else (second, right)
            if not source:
                break
            taken.append(source.pop(0))
        groups.append((left, right))
    return groups


def _regrouped(old: Sequence[Axis], sizes: Sequence[int]) -> list[Axis]:
    impure = [one for one in old if not one.is_plain]
    if impure:
        return _alone(impure[0], sizes) if prod(sizes) == impure[0].size else list(others(sizes))
    digits = [digit for one in old for digit in one.digits]
    taken = [_taken(digits, size) for size in sizes]
    known = [Axis(_merged(one)) for one in taken if one is not None]
    return known if len(known) == len(sizes) else list(others(sizes))


def _alone(one: Axis, sizes: Sequence[int]) -> list[Axis]:
    """Place an axis that cannot be split among dimensions of size 1."""
    if one.size not in sizes:
        return list(others(sizes))
    position = list(sizes).index(one.size)
    return [one if dim == position else Axis() for dim in range(len(sizes))]


def _taken(digits: list[Digit], size: int) -> list[Digit] | None:
    """Take digits with `size` elements in all from the front, splitting the last one if needed."""
    taken: list[Digit] = [digits.pop(0)] if digits and digits[0].size == 1 else []
    left = size
    while left > 1:
        if not digits:
            return None
        first = digits.pop(0)
        if first.size > left:
            if first.size % left:
                return None
            inner = first.size // left
            digits.insert(0, Digit(first.label, inner, first.weight))
            first = Digit(first.label, left, first.weight * inner)
        if left % first.size:
            return None
        taken.append(first)
        left //= first.size
    return taken


def _merged(digits: Sequence[Digit]) -> tuple[Digit, ...]:
    """Merge consecutive digits of a coordinate."""
    merged: list[Digit] = []
    for digit in digits:
        last = merged[-1] if merged else None
        if last and last.label == digit.label and _follow(last, digit):
            merged[-1] = Digit(digit.label, last.size * digit.size, digit.weight)
        else:
            merged.append(digit)
    return tuple(merged)


def _follow(slow: Digit, fast: Digit) -> bool:
    return slow.label == OTHER or slow.weight == fast.weight * fast.size

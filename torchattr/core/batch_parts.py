"""What belongs to some examples of a batch: of their targets, and of the arguments beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from torchattr.core.inputs import map_batched
from torchattr.core.output_target import FixedTarget
from torchattr.core.targets import Classes, Neuron, bundle, plain


def can_be_cut(target: Any, count: int) -> bool:
    """Whether a target of a batch can be read for some of its examples alone.

    A callable, also one that selects a neuron, cannot: it may hold an entry for each example.
    """
    target = plain(target)
    if isinstance(target, Classes):
        return all(can_be_cut(one, count) for one in target.indices)
    if isinstance(target, Tensor):
        return target.numel() in (1, count)
    if isinstance(target, list):
        return len(target) == count
    if isinstance(target, Neuron):
        return not callable(target.selector)
    return isinstance(target, FixedTarget) or not callable(target)


def part_of_target(target: Any, rows: slice) -> Any:
    """Return the target of some examples; without entries for examples it fits any.

    >>> part_of_target([3, 4, 5], slice(1, 3)), part_of_target(3, slice(1, 3))
    ([4, 5], 3)
    """
    target = plain(target)
    if isinstance(target, Classes):
        return bundle(part_of_target(one, rows) for one in target.indices)
    if isinstance(target, Tensor):
        return target.reshape(-1)[rows] if target.numel() > 1 else target
    if isinstance(target, list):
        return target[rows]
    if isinstance(target, FixedTarget):
        return target.of_rows(rows)
    return target


def part_of_arguments(arguments: Sequence[Any], count: int, rows: slice) -> tuple[Any, ...]:
    """Return arguments for some examples; those that are tensors with a row for each are cut."""
    return map_batched(arguments, count, lambda tensor: tensor[rows])


def part_of_methods(methods: Any, count: int, rows: slice) -> Any:
    """Return methods with what their options hold for some examples."""
    if not isinstance(methods, Mapping):
        return methods
    return {
        method: dict(
            zip(options, part_of_arguments(list(options.values()), count, rows), strict=True)
        )
        for method, options in methods.items()
    }

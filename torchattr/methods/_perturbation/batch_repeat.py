"""Repeats a batch, with every argument that has one entry per example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import map_batched
from torchattr.core.output_target import FixedTarget
from torchattr.core.pytree import with_tensors
from torchattr.core.targets import Classes, Neuron, TopK, bundle, plain
from torchattr.core.types import SingleTarget


@dataclass(frozen=True)
class Copies:
    """Several copies of a batch as one.

    Attributes:
        times: number of copies.
        side_by_side: whether the copies of each example follow each other, instead of whole
            batches.
    """

    times: int
    side_by_side: bool = False

    def of_rows(self, rows: Tensor) -> Tensor:
        """Return the rows of all copies.

        >>> Copies(2).of_rows(torch.tensor([1, 2])).tolist()
        [1, 2, 1, 2]
        >>> Copies(2, side_by_side=True).of_rows(torch.tensor([1, 2])).tolist()
        [1, 1, 2, 2]
        """
        if self.side_by_side:
            return rows.repeat_interleave(self.times, 0)
        return rows.repeat(self.times, *(1 for _ in rows.shape[1:]))

    def of_arguments(self, arguments: Sequence[Any], batch_size: int) -> tuple[Any, ...]:
        """Return arguments for all copies; those that are tensors with a row for each example."""
        if self.times == 1:
            return tuple(arguments)
        return map_batched(arguments, batch_size, self.of_rows)

    def of_target(self, target: SingleTarget | TopK | Classes | Neuron) -> Any:
        """Return a target for all copies; without entries for examples it fits any batch.

        A callable, also one that selects a neuron, is called with one copy of the batch at a time,
        since it may hold one entry per example.
        """
        target = plain(target)
        if self.times == 1:
            return target
        if isinstance(target, Classes):
            return several(map(self.of_target, target.indices))
        if isinstance(target, Tensor):
            return self.of_rows(target.reshape(-1)) if target.numel() > 1 else target
        if isinstance(target, list):
            return self._of_list(target)
        if isinstance(target, FixedTarget):
            return target.with_entries(self.of_rows)
        if isinstance(target, Neuron) and callable(target.selector):
            return replace(target, selector=self._each_copy(target.selector))
        return self._each_copy(target) if callable(target) else target

    def split(self, rows: Tensor) -> list[Tensor]:
        """Return the rows of each copy."""
        if not self.side_by_side:
            return list(rows.chunk(self.times))
        return [rows[number :: self.times] for number in range(self.times)]

    def _of_list(self, entries: list[Any]) -> list[Any]:
        if self.side_by_side:
            return [entry for entry in entries for _ in range(self.times)]
        return entries * self.times

    def _each_copy(self, target: Any) -> Any:
        """Return what reads all copies, given what reads one."""

        def each_copy(values: Any) -> Tensor:
            copies = [with_tensors(values, partial(self._copy, k)) for k in range(self.times)]
            found = [target(copy).reshape(-1) for copy in copies]
            return torch.stack(found, 1).reshape(-1) if self.side_by_side else torch.cat(found)

        return each_copy

    def _copy(self, number: int, values: Tensor) -> Tensor:
        """Return one of the copies, if a tensor has rows for all."""
        has_rows = values.dim() > 0 and len(values) % self.times == 0
        return self.split(values)[number] if has_rows else values


def repeat_rows(rows: Tensor, times: int) -> Tensor:
    """Concatenate `times` copies of a batch.

    >>> repeat_rows(torch.tensor([1, 2]), 2)
    tensor([1, 2, 1, 2])
    """
    return Copies(times).of_rows(rows)


def repeat_arguments(arguments: Sequence[Any], times: int, batch_size: int) -> tuple[Any, ...]:
    """Repeat the arguments that are tensors with one row per example."""
    return Copies(times).of_arguments(arguments, batch_size)


def repeat_target(target: SingleTarget | TopK | Classes | Neuron, times: int) -> Any:
    """Repeat a target that has one entry per example, as :meth:`Copies.of_target`."""
    return Copies(times).of_target(target)


def several(targets: Any) -> Classes:
    """Bundle single targets of any type, so that one forward serves them all."""
    return bundle(targets)

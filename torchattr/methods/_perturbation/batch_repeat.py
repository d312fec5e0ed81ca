"""Repeats a batch in blocks, with every argument that has one entry per example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import map_batched
from torchattr.core.output_target import FixedTarget
from torchattr.core.targets import Classes, TopK, bundle, plain
from torchattr.core.types import SingleTarget


def repeat_rows(rows: Tensor, times: int) -> Tensor:
    """Concatenate `times` copies of a batch.

    >>> repeat_rows(torch.tensor([1, 2]), 2)
    tensor([1, 2, 1, 2])
    """
    return rows.repeat(times, *(1 for _ in rows.shape[1:]))


def repeat_arguments(arguments: Sequence[Any], times: int, batch_size: int) -> tuple[Any, ...]:
    """Repeat the arguments that are tensors with one row per example."""
    if times == 1:
        return tuple(arguments)
    return map_batched(arguments, batch_size, lambda rows: repeat_rows(rows, times))


def repeat_target(target: SingleTarget | TopK | Classes, times: int) -> Any:
    """Repeat a target that has one entry per example; others fit a batch of any size.

    A callable is called with one block at a time, since it may hold one entry per example.
    """
    target = plain(target)
    if times == 1:
        return target
    if isinstance(target, Classes):
        return several(repeat_target(single, times) for single in target.indices)
    if isinstance(target, Tensor):
        return repeat_rows(target.reshape(-1), times) if target.numel() > 1 else target
    if isinstance(target, list):
        return target * times
    if isinstance(target, FixedTarget):
        return target.repeated(times)
    return _blockwise(target, times) if callable(target) else target


def several(targets: Any) -> Classes:
    """Bundle single targets of any type, so that one forward serves them all."""
    return bundle(targets)


def _blockwise(target: Callable[[Any], Tensor], times: int) -> Callable[[Any], Tensor]:
    def each_block(output: Tensor) -> Tensor:
        return torch.cat([target(block).reshape(-1) for block in output.chunk(times)])

    return each_block

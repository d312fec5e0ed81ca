"""Pointwise calls, repeated on the changed pixels."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from torchattr.incremental.arguments import fill
from torchattr.incremental.grid import Grid
from torchattr.incremental.op_counts import OpCounts, of_bytes
from torchattr.incremental.operators.operator import Changed, Operator, derived
from torchattr.incremental.tape import TapeEntry, writes_input
from torchattr.kernels import IMAGE, Boxes, PatchOperations
from torchattr.layers import Call


@dataclass(frozen=True)
class Pointwise(Operator):
    """A pointwise call, run unchanged on single pixels.

    Attributes:
        entry: the call.
        call: its parsed form, if it is in the table of operations.
    """

    inputs: tuple[int, ...]
    output: int
    grid: Grid
    entry: TapeEntry
    call: Call | None = None

    def boxes(self, given: Sequence[Boxes]) -> Boxes:
        result = given[0]
        for other in given[1:]:
            result = result.joined(other)
        return result

    def run(self, given: Sequence[Changed], boxes: Boxes, backend: PatchOperations) -> Tensor:
        tensors = {
            index: value.grid.spread(value.within(boxes, backend))
            for index, value in zip(self.inputs, given, strict=True)
        }
        return self.grid.gathered(_repeat(self.entry, tensors))

    def op_counts(self, pixels: int, item: int) -> OpCounts:
        return of_bytes(pixels * self.grid.channels * item * (len(self.inputs) + 1))


@dataclass(frozen=True)
class ChannelGate(Operator):
    """A call that combines an image with one value per channel, as in squeeze-and-excitation.

    A change of the value changes all pixels.
    """

    inputs: tuple[int, ...]
    output: int
    grid: Grid
    entry: TapeEntry
    single: int

    @property
    def reach(self) -> Hashable:
        return self.single

    def boxes(self, given: Sequence[Boxes]) -> Boxes:
        image = given[0].table[:, IMAGE]
        whole = Boxes.whole(image, self.grid.height, self.grid.width)
        unchanged = given[self.single].areas == 0
        if not unchanged.any():
            return whole
        other = given[1 - self.single].table
        return Boxes.of(*np.where(unchanged[:, None], other, whole.table)[:, :-1].T)

    def run(self, given: Sequence[Changed], boxes: Boxes, backend: PatchOperations) -> Tensor:
        single, picture = given[self.single], given[1 - self.single]
        every = derived(boxes, "single", lambda: Boxes.whole(boxes.table[:, IMAGE], 1, 1))
        values = single.within(every, backend)
        areas = torch.from_numpy(boxes.areas).to(values.device, non_blocking=True)
        repeated = values.repeat_interleave(areas, 0, output_size=boxes.rows)
        rows = picture.within(boxes, backend)
        tensors = {
            self.inputs[self.single]: single.grid.spread(repeated),
            self.inputs[1 - self.single]: picture.grid.spread(rows),
        }
        return self.grid.gathered(_repeat(self.entry, tensors))

    def op_counts(self, pixels: int, item: int) -> OpCounts:
        return of_bytes(pixels * self.grid.channels * item * 3)


def _repeat(entry: TapeEntry, tensors: dict[int, Tensor]) -> Tensor:
    """Repeat a call on other tensors; an in-place call gets copies."""
    if writes_input(entry):
        tensors[entry.inputs[0]] = tensors[entry.inputs[0]].clone()
    args = fill(entry.args, tensors.__getitem__)
    kwargs = fill(entry.kwargs, tensors.__getitem__)
    result: Tensor = entry.function(*args, **kwargs)
    return result

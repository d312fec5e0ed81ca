"""Run the operators of a schedule for a chunk of variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from torchattr.incremental.following import latest
from torchattr.incremental.operators.operator import Changed, Operator
from torchattr.incremental.plan import ChunkBoxes
from torchattr.incremental.schedule import Schedule
from torchattr.kernels import IMAGE, Boxes, PatchOperations


class CleanValues:
    """The clean values in channels-last memory, converted on first use.

    Args:
        schedule: what reads them.
        follow: whether they follow the changes: each variant becomes what the next one of its image
            is compared with.
    """

    def __init__(self, schedule: Schedule, *, follow: bool = False) -> None:
        self._schedule = schedule
        self._follow = follow
        self._made: dict[int, Tensor] = {}

    def __call__(self, index: int) -> Tensor:
        if index not in self._made:
            taken = self._taken(index)
            made = self._schedule.grids[index].channels_last(taken)
            shared = made.data_ptr() == taken.data_ptr()
            self._made[index] = made.clone() if self._follow and shared else made
        return self._made[index]

    def note(self, index: int, rows: Tensor, boxes: Boxes) -> None:
        """Let a value follow its changed pixels, if values do and this one is kept."""
        if not self._follow or not (index in self._made or self._is_on_tape(index)):
            return
        clean = self(index)
        pixels = clean.view(-1, clean.shape[3])
        variant, y, x = boxes.positions
        places = (boxes.table[variant, IMAGE] * clean.shape[1] + y) * clean.shape[2] + x
        last = latest(places, len(pixels))
        if len(last) < len(places):
            rows = rows[torch.from_numpy(last).to(rows.device, non_blocking=True)]
        chosen = torch.from_numpy(places[last]).to(clean.device, non_blocking=True)
        pixels.index_copy_(0, chosen, rows)

    def _is_on_tape(self, index: int) -> bool:
        return self._schedule.lowered.tape.values[index].clean is not None

    def _taken(self, index: int) -> Tensor:
        """Take a value from the tape, which releases it."""
        value = self._schedule.lowered.tape.values[index]
        if value.clean is None:
            raise RuntimeError("the tape did not keep a clean value that is needed")
        clean, value.clean = value.clean, None
        return clean


class Allowance:
    """Memory for caches of operators between chunks, such as packed weights; the first that fit.

    Args:
        allowed: bytes for all of them.
    """

    def __init__(self, allowed: int) -> None:
        self._left = allowed
        self._kept: set[int] = set()

    def spend(self, step: Operator) -> None:
        """Let an operator keep its cache, or release it."""
        if step.output in self._kept:
            return
        if step.held_bytes > self._left:
            step.release()
            return
        self._left -= step.held_bytes
        self._kept.add(step.output)


def run(
    schedule: Schedule,
    clean: CleanValues,
    sources: Mapping[int, Tensor],
    boxes: ChunkBoxes,
    backend: PatchOperations,
    allowance: Allowance,
) -> dict[int, Tensor]:
    """Compute the frontier of a schedule as dense tensors in the model's own layout.

    Args:
        schedule: the operators to run.
        clean: the clean values.
        sources: the changed pixels of the inputs.
        boxes: those of all values.
        backend: runs convolutions, pools and gathers.
        allowance: memory for caches that outlive the chunk.
    """

    def changed(index: int, rows: Tensor) -> Changed:
        grid = schedule.grids[index]
        return Changed(grid, rows, boxes.changed[index], partial(clean, index))

    def retire(index: int) -> None:
        # Not before: the chunk's other variants are compared with what was there.
        value = live.pop(index, None)
        if value is not None:
            clean.note(index, value.rows, value.boxes)

    live = {index: changed(index, rows) for index, rows in sources.items()}
    frontier = {}
    for step, last_uses in zip(schedule.operators, schedule.last_uses, strict=True):
        given = [live[index] for index in step.inputs]
        live[step.output] = changed(
            step.output, step.run(given, boxes.changed[step.output], backend)
        )
        allowance.spend(step)
        for index, is_last in zip(step.inputs, last_uses, strict=True):
            if is_last:
                retire(index)
        if step.output in schedule.frontier:
            value = schedule.lowered.tape.values[step.output]
            dense = whole(live[step.output], boxes.whole[step.output], backend)
            frontier[step.output] = as_strided_like(dense, value.shape, value.strides)
    for index in list(live):
        retire(index)
    return frontier


def as_strided_like(tensor: Tensor, shape: Sequence[int], strides: Sequence[int]) -> Tensor:
    """Return a tensor with the strides that the model's own forward would give it.

    The model may take a view that only such strides allow, and PyTorch chooses kernels, and so
    rounding, by strides, including those of dimensions of size one.

    Args:
        tensor: the value for all copies of the batch.
        shape: its shape in the clean forward.
        strides: its strides there.
    """
    wanted = _strides_of_copies(tensor.shape, shape, strides)
    moved = [dim for dim, size in enumerate(tensor.shape) if size > 1]
    if all(tensor.stride(dim) == wanted[dim] for dim in moved):
        return tensor.as_strided(tensor.shape, wanted)
    strided = torch.empty_strided(tensor.shape, wanted, dtype=tensor.dtype, device=tensor.device)
    return strided.copy_(tensor)


def _strides_of_copies(
    copied: Sequence[int], shape: Sequence[int], strides: Sequence[int]
) -> list[int]:
    """Return strides for a larger batch: dimensions outside the examples move further apart.

    >>> _strides_of_copies((6, 3, 4), (2, 3, 4), (12, 4, 1))
    [12, 4, 1]
    >>> _strides_of_copies((6, 3, 4), (2, 3, 4), (4, 8, 1))
    [4, 24, 1]
    """
    batch, *others = strides
    if shape[0] == 1:
        # A single example does not show where the next would be, only that it comes after it.
        reach = sum((n - 1) * step for n, step in zip(shape[1:], others, strict=True)) + 1
        return [max(batch, reach), *others]
    copies = copied[0] // shape[0]
    return [batch, *(step * copies if step > batch else step for step in others)]


def whole(changed: Changed, boxes: Boxes, backend: PatchOperations) -> Tensor:
    """Return a value as one dense tensor for all variants, with the model's dimensions.

    Args:
        changed: the value.
        boxes: boxes that cover all of it.
        backend: gathers the pixels.
    """
    grid = changed.grid
    rows = changed.within(boxes, backend)
    return grid.tensor(rows.reshape(len(boxes), grid.height, grid.width, -1))

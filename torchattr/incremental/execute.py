"""Computing all that changes, for a chunk of variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from torchattr.incremental.operators.operator import Changed, Operator
from torchattr.incremental.schedule import Schedule
from torchattr.kernels import IMAGE, Backend, Boxes


class Clean:
    """The clean values, with their channels last, made when first asked for."""

    def __init__(self, plan: Schedule) -> None:
        self._plan = plan
        self._made: dict[int, Tensor] = {}

    def __call__(self, index: int) -> Tensor:
        if index not in self._made:
            self._made[index] = self._plan.grids[index].channels_last(self._taken(index))
        return self._made[index]

    def _taken(self, index: int) -> Tensor:
        """Take a value from the tape, which lets go of it."""
        value = self._plan.lowered.tape.values[index]
        if value.clean is None:
            raise RuntimeError("a clean value is needed that the tape did not keep")
        clean, value.clean = value.clean, None
        return clean


class Allowance:
    """How much of what steps could make again is kept between chunks: the first that fit.

    Args:
        allowed: bytes for all of them.
    """

    def __init__(self, allowed: int) -> None:
        self._left = allowed
        self._kept: set[int] = set()

    def spend(self, step: Operator) -> None:
        """Let a step keep what it holds, or take it away."""
        if step.output in self._kept:
            return
        if step.held_bytes > self._left:
            step.release()
            return
        self._left -= step.held_bytes
        self._kept.add(step.output)


def run(
    plan: Schedule,
    clean: Clean,
    sources: Mapping[int, Changed],
    backend: Backend,
    allowance: Allowance,
) -> dict[int, Tensor]:
    """Compute the frontier of a plan as whole tensors, as the model sees them.

    Args:
        plan: what to do.
        clean: the clean values.
        sources: the followed inputs.
        backend: what runs the hot parts.
        allowance: what may be kept for the next chunk.
    """
    live = dict(sources)
    found = {}
    for step, last in zip(plan.operators, plan.last, strict=True):
        given = [live[index] for index in step.inputs]
        boxes = step.boxes([one.boxes for one in given])
        rows = step.run(given, boxes, backend)
        allowance.spend(step)
        for index, over in zip(step.inputs, last, strict=True):
            if over:
                live.pop(index, None)
        live[step.output] = Changed(step.grid, rows, boxes, partial(clean, step.output))
        if step.output in plan.frontier:
            value = plan.lowered.tape.values[step.output]
            found[step.output] = laid_out(
                whole(live[step.output], backend), value.shape, value.strides
            )
    return found


def laid_out(tensor: Tensor, shape: Sequence[int], strides: Sequence[int]) -> Tensor:
    """Return a tensor that lies in memory as the model's own forward would lay it.

    The model may ask for a view that is possible of such a tensor only, and PyTorch chooses, and
    rounds, by the strides, those of single elements included.

    Args:
        tensor: the value for all copies of the batch.
        shape: its shape in the clean forward.
        strides: its strides there.
    """
    wanted = _strides_of_copies(tensor.shape, shape, strides)
    moved = [dim for dim, size in enumerate(tensor.shape) if size > 1]
    if all(tensor.stride(dim) == wanted[dim] for dim in moved):
        return tensor.as_strided(tensor.shape, wanted)
    laid = torch.empty_strided(tensor.shape, wanted, dtype=tensor.dtype, device=tensor.device)
    return laid.copy_(tensor)


def _strides_of_copies(
    copied: Sequence[int], shape: Sequence[int], strides: Sequence[int]
) -> list[int]:
    """Return strides for a batch that is larger: what lay around the examples lies further apart.

    >>> _strides_of_copies((6, 3, 4), (2, 3, 4), (12, 4, 1))
    [12, 4, 1]
    >>> _strides_of_copies((6, 3, 4), (2, 3, 4), (4, 8, 1))
    [4, 24, 1]
    """
    batch, *others = strides
    if shape[0] == 1:
        # One example tells nothing of where the next would lie, but that it lies behind.
        reach = sum((n - 1) * step for n, step in zip(shape[1:], others, strict=True)) + 1
        return [max(batch, reach), *others]
    copies = copied[0] // shape[0]
    return [batch, *(step * copies if step > batch else step for step in others)]


def whole(changed: Changed, backend: Backend) -> Tensor:
    """Return a value as one tensor for all variants, with the model's dimensions."""
    grid = changed.grid
    boxes = Boxes.whole(changed.boxes.table[:, IMAGE], grid.height, grid.width)
    rows = changed.within(boxes, backend)
    return grid.tensor(rows.reshape(len(boxes), grid.height, grid.width, -1))

"""Computing all that changes, for a chunk of variants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor

from torchattr.incremental.operators import Changed, Operator
from torchattr.incremental.plan import Plan
from torchattr.kernels import Backend
from torchattr.kernels.patches import IMAGE, Boxes


class Clean:
    """The clean values, with their channels last, made when first asked for."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._made: dict[int, Tensor] = {}

    def __call__(self, index: int) -> Tensor:
        if index not in self._made:
            self._made[index] = self._plan.grids[index].channels_last(self._taken(index))
        return self._made[index]

    def _taken(self, index: int) -> Tensor:
        """Take a value from the tape, which lets go of it."""
        value = self._plan.reading.tape.values[index]
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
            step.let_go()
            return
        self._left -= step.held_bytes
        self._kept.add(step.output)


def run(
    plan: Plan,
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
            value = plan.reading.tape.values[step.output]
            found[step.output] = laid_out(whole(live[step.output], backend), value.strides)
    return found


def laid_out(tensor: Tensor, strides: Sequence[int]) -> Tensor:
    """Give a tensor whose dimensions lie in memory as these strides say.

    The model may ask for a view that is possible of such a tensor only.
    """
    order = [0, *sorted(range(1, tensor.dim()), key=lambda dim: -strides[dim])]
    back = [order.index(dim) for dim in range(tensor.dim())]
    return tensor.permute(order).contiguous().permute(back)


def whole(changed: Changed, backend: Backend) -> Tensor:
    """Give a value as one tensor for all variants, with the model's dimensions."""
    grid = changed.grid
    boxes = Boxes.whole(changed.boxes.table[:, IMAGE], grid.height, grid.width)
    rows = changed.within(boxes, backend)
    return grid.tensor(rows.reshape(len(boxes), grid.height, grid.width, -1))

"""The interface of operators on changed pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence

from torch import Tensor

from torchattr.incremental.grid import Grid
from torchattr.incremental.op_counts import OpCounts
from torchattr.kernels import Boxes, Patches, PatchOperations


class Changed:
    """A value of all variants of a chunk: its changed pixels and where they are.

    Args:
        grid: its layout in the model.
        rows: the changed pixels, `(boxes.rows, channels)`.
        boxes: their positions.
        clean: returns the clean value as `(N, H, W, C)`.
    """

    def __init__(self, grid: Grid, rows: Tensor, boxes: Boxes, clean: Callable[[], Tensor]) -> None:
        self.grid = grid
        self.rows = rows
        self.boxes = boxes
        self._clean = clean

    def patches(self) -> Patches:
        return Patches(self._clean(), self.rows, self.boxes)

    def within(self, boxes: Boxes, backend: PatchOperations) -> Tensor:
        """Return the pixels inside other boxes."""
        return self.rows if boxes == self.boxes else backend.gather(self.patches(), boxes)


def derived(boxes: Boxes, key: Hashable, make: Callable[[], Boxes]) -> Boxes:
    """Return boxes that follow from others, kept with them, so that a device gets them once."""
    if key not in boxes.packed:
        boxes.packed[key] = make()
    made: Boxes = boxes.packed[key]
    return made


class Operator(ABC):
    """One operation, or several fused ones, on changed pixels.

    Attributes:
        inputs: the values that it reads.
        output: the value that it computes.
        grid: the output's layout in the model.
    """

    inputs: tuple[int, ...]
    output: int
    grid: Grid

    @abstractmethod
    def boxes(self, given: Sequence[Boxes]) -> Boxes:
        """Return where the output changes, from where the inputs do."""

    @abstractmethod
    def run(self, given: Sequence[Changed], boxes: Boxes, backend: PatchOperations) -> Tensor:
        """Compute the output's pixels inside `boxes`.

        Args:
            given: the inputs.
            boxes: the result of :meth:`boxes`.
            backend: runs convolutions, pools and gathers.
        """

    @property
    def reach(self) -> Hashable:
        """What :meth:`boxes`, its cost and its memory depend on, beside the shapes of values."""
        return ()

    @abstractmethod
    def op_counts(self, pixels: int, item: int) -> OpCounts:
        """Count operations for a number of output pixels with elements of `item` bytes."""

    @property
    def held_bytes(self) -> int:
        """Bytes cached for the next run that could be recomputed."""
        return 0

    @property
    def packing_bytes(self) -> int:
        """Approximate bytes needed to compute the cache."""
        return 0

    def release(self) -> None:
        """Release the cache."""
        return

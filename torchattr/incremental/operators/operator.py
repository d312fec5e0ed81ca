"""What is recomputed of one operation, or of a few that belong together, for changed pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from torch import Tensor

from torchattr.incremental.grids import Grid
from torchattr.incremental.op_counts import OpCounts
from torchattr.kernels import Backend, Boxes, Patches


class Changed:
    """A value of all variants of a chunk.

    Args:
        grid: how the model sees it.
        rows: `(boxes.rows, channels)`.
        boxes: where they belong.
        clean: makes `(N, H, W, C)` of the clean images.
    """

    def __init__(self, grid: Grid, rows: Tensor, boxes: Boxes, clean: Callable[[], Tensor]) -> None:
        self.grid = grid
        self.rows = rows
        self.boxes = boxes
        self._clean = clean

    def patches(self) -> Patches:
        return Patches(self._clean(), self.rows, self.boxes)

    def within(self, boxes: Boxes, backend: Backend) -> Tensor:
        """Return the pixels of other boxes."""
        return self.rows if boxes == self.boxes else backend.gather(self.patches(), boxes)


class Operator(ABC):
    """One step of the work on changed pixels.

    Attributes:
        inputs: the values that it takes.
        output: the value that it gives.
        grid: how the model sees that.
    """

    inputs: tuple[int, ...]
    output: int
    grid: Grid

    @abstractmethod
    def boxes(self, given: Sequence[Boxes]) -> Boxes:
        """Return where its output changes."""

    @abstractmethod
    def run(self, given: Sequence[Changed], boxes: Boxes, backend: Backend) -> Tensor:
        """Return the output's pixels in `boxes`.

        Args:
            given: the inputs.
            boxes: what :meth:`boxes` said.
            backend: what runs the hot parts.
        """

    @abstractmethod
    def work(self, pixels: int, item: int) -> OpCounts:
        """Count what it costs for so many pixels of the output, of so many bytes an element."""

    @property
    def held_bytes(self) -> int:
        """What it holds for the next run that could be made again."""
        return 0

    @property
    def packing_bytes(self) -> int:
        """About what it needs to make that."""
        return 0

    def release(self) -> None:
        """Return that memory back."""
        return

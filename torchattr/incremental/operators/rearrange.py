"""Calls that only move values about: asked, with marked elements, where each comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchattr.incremental.function_sets import Unreadable, name_of, only
from torchattr.incremental.grids import Grid, Grids, codes, decoded
from torchattr.incremental.op_counts import OpCounts, of_bytes
from torchattr.incremental.operators.operator import Changed, Operator
from torchattr.incremental.tape import Tape, TapeEntry, fill
from torchattr.kernels import IMAGE, Backend, Boxes, Patches


@dataclass(frozen=True)
class Rearranged(Operator):
    """A call that moves whole channels about, and the dimensions that hold them."""

    inputs: tuple[int, ...]
    output: int
    grid: Grid
    channels: Tensor | None

    def boxes(self, given: Sequence[Boxes]) -> Boxes:
        return given[0]

    def run(self, given: Sequence[Changed], boxes: Boxes, backend: Backend) -> Tensor:
        rows = given[0].rows
        return rows if self.channels is None else rows[:, self.channels.to(rows.device)]

    def work(self, pixels: int, item: int) -> OpCounts:
        moved = 0 if self.channels is None else 2 * pixels * self.grid.channels * item
        return of_bytes(moved)


@dataclass(frozen=True)
class Flattened(Operator):
    """A call that makes one pixel of a picture, whose channels are all that the picture held.

    Attributes:
        order: for each of these channels where it is in `(H, W, C)`.
    """

    inputs: tuple[int, ...]
    output: int
    grid: Grid
    order: Tensor

    def boxes(self, given: Sequence[Boxes]) -> Boxes:
        changed = (given[0].areas > 0).astype(np.int64)
        none = np.zeros_like(changed)
        return Boxes.of(given[0].table[:, IMAGE], none, none, changed, changed)

    def run(self, given: Sequence[Changed], boxes: Boxes, backend: Backend) -> Tensor:
        grid, (image, top, left, changed, _, _) = given[0].grid, boxes.table.T
        whole = Boxes.of(image, top, left, grid.height * changed, grid.width * changed)
        rows = given[0].within(whole, backend).reshape(boxes.rows, grid.pixels * grid.channels)
        return rows[:, self.order.to(rows.device)]

    def work(self, pixels: int, item: int) -> OpCounts:
        return of_bytes(2 * pixels * self.grid.channels * item)


@dataclass(frozen=True)
class Rearrange(Operator):
    """A call that takes each pixel from one of the input's, or puts a constant there: padding.

    Attributes:
        rows: for each row of the output that of the input, or -1 for the constant.
        columns: likewise.
        constant: the constant.
    """

    inputs: tuple[int, ...]
    output: int
    grid: Grid
    rows: np.ndarray[Any, Any]
    columns: np.ndarray[Any, Any]
    constant: float

    def of_whole(self, pictures: Tensor) -> Tensor:
        """Do the same to whole pictures, `(N, C, H, W)`."""
        taken = pictures[:, :, self.rows][:, :, :, self.columns]
        outside = torch.from_numpy((self.rows[:, None] < 0) | (self.columns < 0))
        return torch.where(outside, self.constant, taken)

    def boxes(self, given: Sequence[Boxes]) -> Boxes:
        image, top, left, bottom, right, _ = given[0].table.T
        vertical = _span(self.rows, top, bottom)
        horizontal = _span(self.columns, left, right)
        return Boxes.of(image, vertical[0], horizontal[0], vertical[1], horizontal[1])

    def run(self, given: Sequence[Changed], boxes: Boxes, backend: Backend) -> Tensor:
        patches = given[0].patches()
        clean = patches.clean.reshape(-1, patches.clean.shape[-1])
        constant = clean.new_full((1, clean.shape[1]), self.constant)
        places = self._places(patches, boxes)
        rows = torch.cat([clean, patches.changed, constant])
        return rows[torch.from_numpy(places).to(rows.device)]

    def work(self, pixels: int, item: int) -> OpCounts:
        return of_bytes(2 * pixels * self.grid.channels * item)

    def _places(self, patches: Patches, boxes: Boxes) -> np.ndarray[Any, Any]:
        """Return where each pixel of `boxes` is among the clean ones, the changed, the constant."""
        batch, height, width, _ = patches.clean.shape
        owner, down, along = boxes.places
        y, x = self.rows[down], self.columns[along]
        image, top, left, bottom, right, start = patches.boxes.table[owner].T
        inside = (top <= y) & (y < bottom) & (left <= x) & (x < right)
        clean = (image * height + y) * width + x
        changed = batch * height * width + start + (y - top) * (right - left) + x - left
        constant = batch * height * width + len(patches.changed)
        return np.where((y < 0) | (x < 0), constant, np.where(inside, changed, clean))


def _span(
    sources: np.ndarray[Any, Any], low: np.ndarray[Any, Any], high: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return from where to where the sources lie in `[low, high)`, for each pair of bounds."""
    taken = (sources >= low[:, None]) & (sources < high[:, None])
    first = taken.argmax(axis=1)
    last = taken.shape[1] - taken[:, ::-1].argmax(axis=1)
    return first, np.where(taken.any(axis=1), last, first)


def moved(entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    """Ask the call itself where each row and each column comes from."""
    grid, (output,) = grids[entry.inputs[0]], only(entry.outputs, entry)
    shape = tuple(tape.values[output].shape)
    channels = (shape[0], grid.channels)
    if not grid.is_plain or len(shape) != 4 or shape[:2] != channels:
        raise Unreadable(f"{name_of(entry.function)} changes more than the picture's edges")
    y, x = torch.meshgrid(
        torch.arange(grid.height).double(), torch.arange(grid.width).double(), indexing="ij"
    )
    rows, columns, ones = (
        _called_on(entry, one.expand(grid.shape[0], 1, -1, -1))[0, 0]
        for one in (y, x, torch.ones_like(y))
    )
    marks = _called_on(entry, torch.zeros_like(y).expand(grid.shape[0], 1, -1, -1))[0, 0]
    inside = (ones == 1) & (marks == 0) if not torch.equal(ones, marks) else None
    if inside is None:
        raise Unreadable(f"{name_of(entry.function)} puts nothing of the picture there")
    from_rows = _along(torch.where(inside, rows, -1.0), 0)
    from_columns = _along(torch.where(inside, columns, -1.0), 1)
    constants = marks[~inside].unique()
    if from_rows is None or from_columns is None or len(constants) > 1:
        raise Unreadable(f"{name_of(entry.function)} mixes pixels")
    constant = float(constants[0]) if len(constants) else 0.0
    step = Rearrange(
        (entry.inputs[0],), output, Grid(shape, (2, 3)), from_rows, from_columns, constant
    )
    # A mean of pixels may look like the one in the middle.
    own = torch.Generator().manual_seed(0)
    random = torch.rand(grid.shape[0], 1, *y.shape, dtype=torch.float64, generator=own)
    if not torch.equal(_called_on(entry, random), step.of_whole(random)):
        raise Unreadable(f"{name_of(entry.function)} mixes pixels")
    return [step]


def _called_on(entry: TapeEntry, tensor: Tensor) -> Tensor:
    result: Tensor = entry.function(
        *fill(entry.args, lambda _: tensor), **fill(entry.kwargs, lambda _: tensor)
    )
    return result


def _along(places: Tensor, dim: int) -> np.ndarray[Any, Any] | None:
    """Return the sources along one dimension, if they are whole and the same along the other."""
    lines = places.amax(dim=1 - dim)
    expected = lines.unsqueeze(1 - dim).expand_as(places)
    if not torch.equal(torch.where(places < 0, places, expected), places):
        return None
    found = lines.numpy()
    return found.astype(np.int64) if (found == found.round()).all() else None


def rearranged(entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    grid = grids[entry.inputs[0]]
    moved = _called_on(entry, codes(grid))
    results = [moved] if isinstance(moved, Tensor) else list(moved)
    return [
        _one_rearranged(entry, output, result, grid)
        for output, result in zip(entry.outputs, results, strict=True)
    ]


def _one_rearranged(entry: TapeEntry, output: int, result: Tensor, grid: Grid) -> Operator:
    found = decoded(result, grid) if result.dim() and len(result) == grid.shape[0] else None
    if found is None:
        return _flattened(entry, output, result, grid)
    out, channels = found
    alike = torch.equal(channels, torch.arange(grid.channels))
    return Rearranged((entry.inputs[0],), output, out, None if alike else channels)


def _flattened(entry: TapeEntry, output: int, result: Tensor, grid: Grid) -> Operator:
    """Read a call that makes one long row of each picture."""
    if result.dim() != 2 or len(result) != grid.shape[0]:
        raise Unreadable(f"{name_of(entry.function)} does not keep pixels apart")
    size = grid.pixels * grid.channels
    order = result[0] % size
    if not torch.equal(result, torch.arange(len(result))[:, None] * size + order):
        raise Unreadable(f"{name_of(entry.function)} mixes pictures")
    return Flattened((entry.inputs[0],), output, Grid(tuple(result.shape), ()), order)

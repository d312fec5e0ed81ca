"""Calls that only rearrange values, lowered by running them on tensors of coded positions."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchattr.incremental.arguments import fill
from torchattr.incremental.function_sets import CannotLower, name_of, single_output
from torchattr.incremental.grid import Grid, Grids, codes, decoded
from torchattr.incremental.op_counts import OpCounts, of_bytes
from torchattr.incremental.operators.operator import Changed, Operator, derived
from torchattr.incremental.tape import Tape, TapeEntry
from torchattr.kernels import IMAGE, Boxes, PatchOperations


@dataclass(frozen=True)
class ChannelGather(Operator):
    """A call that selects or permutes channels, or moves dimensions.

    Attributes:
        channels: for each output channel that of the input; `None` if they keep their order.
    """

    inputs: tuple[int, ...]
    output: int
    grid: Grid
    channels: Tensor | None

    @property
    def reach(self) -> Hashable:
        return self.channels is None

    def boxes(self, given: Sequence[Boxes]) -> Boxes:
        return given[0]

    def run(self, given: Sequence[Changed], boxes: Boxes, backend: PatchOperations) -> Tensor:
        rows = given[0].rows
        return (
            rows
            if self.channels is None
            else rows[:, self.channels.to(rows.device, non_blocking=True)]
        )

    def op_counts(self, pixels: int, item: int) -> OpCounts:
        moved = 0 if self.channels is None else 2 * pixels * self.grid.channels * item
        return of_bytes(moved)


@dataclass(frozen=True)
class Flattened(Operator):
    """A call that flattens an image to a single pixel, whose channels are all its elements.

    Attributes:
        order: for each of these channels its index in `(H, W, C)`.
    """

    inputs: tuple[int, ...]
    output: int
    grid: Grid
    order: Tensor

    def boxes(self, given: Sequence[Boxes]) -> Boxes:
        changed = (given[0].areas > 0).astype(np.int64)
        none = np.zeros_like(changed)
        return Boxes.of(given[0].table[:, IMAGE], none, none, changed, changed)

    def run(self, given: Sequence[Changed], boxes: Boxes, backend: PatchOperations) -> Tensor:
        grid = given[0].grid
        whole = derived(
            boxes, ("unflattened", grid.height, grid.width), lambda: _enlarged(boxes, grid)
        )
        rows = given[0].within(whole, backend).reshape(boxes.rows, grid.pixels * grid.channels)
        return rows[:, self.order.to(rows.device, non_blocking=True)]

    def op_counts(self, pixels: int, item: int) -> OpCounts:
        return of_bytes(2 * pixels * self.grid.channels * item)


def _enlarged(boxes: Boxes, grid: Grid) -> Boxes:
    """Return boxes that cover a grid wherever the single pixel of a flattened image changes."""
    image, top, left, changed, _, _ = boxes.table.T
    return Boxes.of(image, top, left, grid.height * changed, grid.width * changed)


@dataclass(frozen=True)
class PixelGather(Operator):
    """A call that copies pixels of the input or fills in a constant: padding, resizing.

    Attributes:
        rows: for each output row that of the input, or -1 for the constant.
        columns: for each output column that of the input, or -1 for the constant.
        constant: the fill value.
    """

    inputs: tuple[int, ...]
    output: int
    grid: Grid
    rows: np.ndarray[Any, Any]
    columns: np.ndarray[Any, Any]
    constant: float

    @property
    def reach(self) -> Hashable:
        return self.rows.tobytes(), self.columns.tobytes()

    def of_whole(self, pictures: Tensor) -> Tensor:
        """Apply it to whole images `(N, C, H, W)`."""
        taken = pictures[:, :, self.rows][:, :, :, self.columns]
        outside = torch.from_numpy((self.rows[:, None] < 0) | (self.columns < 0))
        return torch.where(outside, self.constant, taken)

    def boxes(self, given: Sequence[Boxes]) -> Boxes:
        image, top, left, bottom, right, _ = given[0].table.T
        vertical = _span(self.rows, top, bottom)
        horizontal = _span(self.columns, left, right)
        return Boxes.of(image, vertical[0], horizontal[0], vertical[1], horizontal[1])

    def run(self, given: Sequence[Changed], boxes: Boxes, backend: PatchOperations) -> Tensor:
        read = self._read(boxes)
        rows = given[0].within(read, backend)
        constant = rows.new_full((1, rows.shape[1]), self.constant)
        sources = self._sources(read, boxes)
        rows = torch.cat([rows, constant])
        return rows[torch.from_numpy(sources).to(rows.device, non_blocking=True)]

    def op_counts(self, pixels: int, item: int) -> OpCounts:
        return of_bytes(2 * pixels * self.grid.channels * item)

    def _read(self, boxes: Boxes) -> Boxes:
        """Return boxes that contain the pixels that are copied into `boxes`."""
        image, top, left, bottom, right, _ = boxes.table.T
        first, last = _extremes(self.rows, top, bottom)
        begin, end = _extremes(self.columns, left, right)
        return Boxes.of(image, first, begin, last, end)

    def _sources(self, read: Boxes, boxes: Boxes) -> np.ndarray[Any, Any]:
        """Return for each pixel of `boxes` its row in those of `read`, or else the row after."""
        owner, down, along = boxes.positions
        y, x = self.rows[down], self.columns[along]
        _, top, left, _, right, start = read.table[owner].T
        taken = start + (y - top) * (right - left) + x - left
        return np.where((y < 0) | (x < 0), read.rows, taken)


def _span(
    sources: np.ndarray[Any, Any], low: np.ndarray[Any, Any], high: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the first and last index whose source is in `[low, high)`, for each pair of bounds."""
    taken = (sources >= low[:, None]) & (sources < high[:, None])
    first = taken.argmax(axis=1)
    last = taken.shape[1] - taken[:, ::-1].argmax(axis=1)
    return first, np.where(taken.any(axis=1), last, first)


def _extremes(
    sources: np.ndarray[Any, Any], low: np.ndarray[Any, Any], high: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the first source in `[low, high)` that is not -1, and the one after the last."""
    places = np.arange(len(sources))
    own = (places >= low[:, None]) & (places < high[:, None]) & (sources >= 0)
    first = np.where(own, sources, np.iinfo(np.int64).max).min(1)
    last = np.where(own, sources, -1).max(1)
    return np.where(own.any(1), first, 0), last + 1


def lower_pixel_gather(entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    """Lower padding or resizing by running the call on coordinates."""
    grid, (output,) = grids[entry.inputs[0]], single_output(entry.outputs, entry)
    shape = tuple(tape.values[output].shape)
    channels = (shape[0], grid.channels)
    if not grid.is_plain or len(shape) != 4 or shape[:2] != channels:
        raise CannotLower(f"{name_of(entry.function)} changes more than rows and columns")
    y, x = torch.meshgrid(
        torch.arange(grid.height).double(), torch.arange(grid.width).double(), indexing="ij"
    )
    rows, columns, ones = (
        _called_on(entry, coordinate.expand(grid.shape[0], 1, -1, -1))[0, 0]
        for coordinate in (y, x, torch.ones_like(y))
    )
    marks = _called_on(entry, torch.zeros_like(y).expand(grid.shape[0], 1, -1, -1))[0, 0]
    inside = (ones == 1) & (marks == 0) if not torch.equal(ones, marks) else None
    if inside is None:
        raise CannotLower(f"{name_of(entry.function)} keeps no pixel of the image")
    from_rows = _along(torch.where(inside, rows, -1.0), 0)
    from_columns = _along(torch.where(inside, columns, -1.0), 1)
    constants = marks[~inside].unique()
    if from_rows is None or from_columns is None or len(constants) > 1:
        raise CannotLower(f"{name_of(entry.function)} mixes pixels")
    constant = float(constants[0]) if len(constants) else 0.0
    step = PixelGather(
        (entry.inputs[0],), output, Grid(shape, (2, 3)), from_rows, from_columns, constant
    )
    # On coordinates, a mean of pixels looks like the middle one; on random values it does not.
    generator = torch.Generator().manual_seed(0)
    random = torch.rand(grid.shape[0], 1, *y.shape, dtype=torch.float64, generator=generator)
    if not torch.equal(_called_on(entry, random), step.of_whole(random)):
        raise CannotLower(f"{name_of(entry.function)} mixes pixels")
    return [step]


def _called_on(entry: TapeEntry, tensor: Tensor) -> Tensor:
    result: Tensor = entry.function(
        *fill(entry.args, lambda _: tensor), **fill(entry.kwargs, lambda _: tensor)
    )
    return result


def _along(sources: Tensor, dim: int) -> np.ndarray[Any, Any] | None:
    """Return the sources along one dimension, if they are integers and equal along the other."""
    lines = sources.amax(dim=1 - dim)
    expected = lines.unsqueeze(1 - dim).expand_as(sources)
    if not torch.equal(torch.where(sources < 0, sources, expected), sources):
        return None
    indices = lines.numpy()
    return indices.astype(np.int64) if (indices == indices.round()).all() else None


def lower_channel_gather(entry: TapeEntry, tape: Tape, grids: Grids) -> list[Operator]:
    """Lower a call that keeps pixels whole, by running it on codes of pixels and channels."""
    grid = grids[entry.inputs[0]]
    result = _called_on(entry, codes(grid))
    results = [result] if isinstance(result, Tensor) else list(result)
    return [
        _channel_gather(entry, output, result, grid)
        for output, result in zip(entry.outputs, results, strict=True)
    ]


def _channel_gather(entry: TapeEntry, output: int, result: Tensor, grid: Grid) -> Operator:
    decoded_grid = decoded(result, grid) if result.dim() and len(result) == grid.shape[0] else None
    if decoded_grid is None:
        return _flattened(entry, output, result, grid)
    out, channels = decoded_grid
    alike = torch.equal(channels, torch.arange(grid.channels))
    return ChannelGather((entry.inputs[0],), output, out, None if alike else channels)


def _flattened(entry: TapeEntry, output: int, result: Tensor, grid: Grid) -> Operator:
    """Lower a call that flattens each image to a row."""
    if result.dim() != 2 or len(result) != grid.shape[0]:
        raise CannotLower(f"{name_of(entry.function)} does not keep pixels apart")
    size = grid.pixels * grid.channels
    order = result[0] % size
    if not torch.equal(result, torch.arange(len(result))[:, None] * size + order):
        raise CannotLower(f"{name_of(entry.function)} mixes images")
    return Flattened((entry.inputs[0],), output, Grid(tuple(result.shape), ()), order)

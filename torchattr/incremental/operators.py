"""What is recomputed of one operation, or of a few that belong together, for changed pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchattr.incremental.grids import Grid
from torchattr.incremental.tape import Entry, fill, writes
from torchattr.incremental.work import Work, of_bytes, of_convolution
from torchattr.kernels import Backend
from torchattr.kernels.patches import IMAGE, After, Boxes, Convolution, Patches, Pooling
from torchattr.layers.ops import Call


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
        """Give the pixels of other boxes."""
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
        """Say where its output changes."""

    @abstractmethod
    def run(
        self, given: Sequence[Changed], boxes: Boxes, backend: Backend, last: Sequence[bool]
    ) -> Tensor:
        """Give the output's pixels in `boxes`.

        Args:
            given: the inputs.
            boxes: what :meth:`boxes` said.
            backend: what runs the hot parts.
            last: for each input whether nobody reads it afterwards.
        """

    @abstractmethod
    def work(self, pixels: int, item: int) -> Work:
        """Count what it costs for so many pixels of the output, of so many bytes an element."""

    def looks_around(self, given: Sequence[Boxes], boxes: Boxes) -> Sequence[bool]:
        """Tell for each input whether clean pixels of it are read."""
        return [one != boxes for one in given]


@dataclass(frozen=True)
class Pointwise(Operator):
    """A call that treats every pixel by itself: run as it is, on single pixels.

    Attributes:
        entry: the call.
        call: what is known of it, if it is one of the table of operations.
    """

    inputs: tuple[int, ...]
    output: int
    grid: Grid
    entry: Entry
    call: Call | None = None

    def boxes(self, given: Sequence[Boxes]) -> Boxes:
        result = given[0]
        for one in given[1:]:
            result = result.joined(one)
        return result

    def run(
        self, given: Sequence[Changed], boxes: Boxes, backend: Backend, last: Sequence[bool]
    ) -> Tensor:
        tensors = {
            index: one.grid.spread(one.within(boxes, backend))
            for index, one in zip(self.inputs, given, strict=True)
        }
        return self.grid.gathered(_called(self.entry, tensors, kept=not last[0]))

    def work(self, pixels: int, item: int) -> Work:
        return of_bytes(pixels * self.grid.channels * item * (len(self.inputs) + 1))


@dataclass(frozen=True)
class Gated(Operator):
    """A call that joins a picture with one value for each of its channels, as squeeze-excite does.

    The value of a variant changes all its pixels.
    """

    inputs: tuple[int, ...]
    output: int
    grid: Grid
    entry: Entry
    single: int

    def boxes(self, given: Sequence[Boxes]) -> Boxes:
        image = given[0].table[:, IMAGE]
        whole = Boxes.whole(image, self.grid.height, self.grid.width)
        unchanged = given[self.single].areas == 0
        if not unchanged.any():
            return whole
        other = given[1 - self.single].table
        return Boxes.of(*np.where(unchanged[:, None], other, whole.table)[:, :-1].T)

    def run(
        self, given: Sequence[Changed], boxes: Boxes, backend: Backend, last: Sequence[bool]
    ) -> Tensor:
        single, picture = given[self.single], given[1 - self.single]
        values = single.within(Boxes.whole(boxes.table[:, IMAGE], 1, 1), backend)
        repeated = values.repeat_interleave(torch.from_numpy(boxes.areas).to(values.device), 0)
        rows = picture.within(boxes, backend)
        tensors = {
            self.inputs[self.single]: single.grid.spread(repeated),
            self.inputs[1 - self.single]: picture.grid.spread(rows),
        }
        return self.grid.gathered(_called(self.entry, tensors, kept=not all(last)))

    def work(self, pixels: int, item: int) -> Work:
        return of_bytes(pixels * self.grid.channels * item * 3)

    def looks_around(self, given: Sequence[Boxes], boxes: Boxes) -> Sequence[bool]:
        return [True, True]


@dataclass(frozen=True)
class Rearranged(Operator):
    """A call that moves whole channels about, and the dimensions that hold them."""

    inputs: tuple[int, ...]
    output: int
    grid: Grid
    channels: Tensor | None

    def boxes(self, given: Sequence[Boxes]) -> Boxes:
        return given[0]

    def run(
        self, given: Sequence[Changed], boxes: Boxes, backend: Backend, last: Sequence[bool]
    ) -> Tensor:
        rows = given[0].rows
        return rows if self.channels is None else rows[:, self.channels.to(rows.device)]

    def work(self, pixels: int, item: int) -> Work:
        moved = 0 if self.channels is None else 2 * pixels * self.grid.channels * item
        return of_bytes(moved)


@dataclass(frozen=True)
class Convolved(Operator):
    """A convolution, and what follows it: an inference batch-norm, a sum, a rectifier.

    A second input is what is added.

    Attributes:
        convolution: as the model called it.
        norm: the batch-norm that follows it.
        after: the bounds of a rectifier.
        open: whether more may be taken into it: a sum, and a rectifier at last.
    """

    inputs: tuple[int, ...]
    output: int
    grid: Grid
    convolution: Convolution
    norm: Call | None = None
    after: After = field(default_factory=After)
    open: bool = True

    @cached_property
    def folded(self) -> Convolution:
        """The convolution that does the batch-norm's work, too."""
        return self.convolution if self.norm is None else _folded(self.convolution, self.norm)

    def boxes(self, given: Sequence[Boxes]) -> Boxes:
        conv = self.convolution
        size = (self.grid.height, self.grid.width)
        found = given[0].reached(conv.extent, conv.stride, conv.padding, conv.dilation, size)
        return found.joined(given[1]) if len(given) > 1 else found

    def run(
        self, given: Sequence[Changed], boxes: Boxes, backend: Backend, last: Sequence[bool]
    ) -> Tensor:
        after = self.after
        if len(given) > 1:
            after = replace(after, residual=given[1].patches())
        return backend.convolve(given[0].patches(), boxes, self.folded, after)

    def work(self, pixels: int, item: int) -> Work:
        return of_convolution(self.convolution, pixels)

    def looks_around(self, given: Sequence[Boxes], boxes: Boxes) -> Sequence[bool]:
        return [True] * len(given)


@dataclass(frozen=True)
class Pooled(Operator):
    """A max-pool or a mean over windows."""

    inputs: tuple[int, ...]
    output: int
    grid: Grid
    pooling: Pooling

    def boxes(self, given: Sequence[Boxes]) -> Boxes:
        pooling = self.pooling
        size = (self.grid.height, self.grid.width)
        return given[0].reached(
            pooling.extent, pooling.stride, pooling.padding, pooling.dilation, size
        )

    def run(
        self, given: Sequence[Changed], boxes: Boxes, backend: Backend, last: Sequence[bool]
    ) -> Tensor:
        return backend.pool(given[0].patches(), boxes, self.pooling)

    def work(self, pixels: int, item: int) -> Work:
        places = self.pooling.extent[0] * self.pooling.extent[1]
        return of_bytes(pixels * self.grid.channels * item * (places + 1))

    def looks_around(self, given: Sequence[Boxes], boxes: Boxes) -> Sequence[bool]:
        return [True]


@dataclass(frozen=True)
class Moved(Operator):
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

    def boxes(self, given: Sequence[Boxes]) -> Boxes:
        image, top, left, bottom, right, _ = given[0].table.T
        vertical = _span(self.rows, top, bottom)
        horizontal = _span(self.columns, left, right)
        return Boxes.of(image, vertical[0], horizontal[0], vertical[1], horizontal[1])

    def run(
        self, given: Sequence[Changed], boxes: Boxes, backend: Backend, last: Sequence[bool]
    ) -> Tensor:
        patches = given[0].patches()
        clean = patches.clean.reshape(-1, patches.clean.shape[-1])
        constant = clean.new_full((1, clean.shape[1]), self.constant)
        places = self._places(patches, boxes)
        rows = torch.cat([clean, patches.changed, constant])
        return rows[torch.from_numpy(places).to(rows.device)]

    def work(self, pixels: int, item: int) -> Work:
        return of_bytes(2 * pixels * self.grid.channels * item)

    def looks_around(self, given: Sequence[Boxes], boxes: Boxes) -> Sequence[bool]:
        return [True]

    def _places(self, patches: Patches, boxes: Boxes) -> np.ndarray[Any, Any]:
        """Give where each pixel of `boxes` is among the clean ones, the changed, the constant."""
        batch, height, width, _ = patches.clean.shape
        owner = np.repeat(np.arange(len(boxes)), boxes.areas)
        within = np.arange(boxes.rows) - boxes.table[owner, 5]
        breadth = (boxes.table[:, 4] - boxes.table[:, 2])[owner]
        y = self.rows[boxes.table[owner, 1] + within // np.maximum(breadth, 1)]
        x = self.columns[boxes.table[owner, 2] + within % np.maximum(breadth, 1)]
        image, top, left, bottom, right, start = patches.boxes.table[owner].T
        inside = (top <= y) & (y < bottom) & (left <= x) & (x < right)
        clean = (image * height + y) * width + x
        changed = batch * height * width + start + (y - top) * (right - left) + x - left
        constant = batch * height * width + len(patches.changed)
        return np.where((y < 0) | (x < 0), constant, np.where(inside, changed, clean))


def _called(entry: Entry, tensors: dict[int, Tensor], *, kept: bool) -> Tensor:
    """Repeat a call on other tensors; if they are `kept`, it may write over copies only."""
    if kept and writes(entry):
        tensors[entry.inputs[0]] = tensors[entry.inputs[0]].clone()
    args = fill(entry.args, tensors.__getitem__)
    kwargs = fill(entry.kwargs, tensors.__getitem__)
    result: Tensor = entry.function(*args, **kwargs)
    return result


def _folded(conv: Convolution, norm: Call) -> Convolution:
    """Fold an inference batch-norm into weights, rounded once."""
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.detach().double()
    bias = -norm.running_mean.double() if conv.bias is None else conv.bias - norm.running_mean
    bias = bias * scale
    if norm.bias is not None:
        bias = bias + norm.bias.detach()
    weight = conv.weight.double() * scale[:, None, None, None]
    kind = conv.weight.dtype
    return replace(conv, weight=weight.to(kind), bias=bias.to(kind), packed={})


def _span(
    sources: np.ndarray[Any, Any], low: np.ndarray[Any, Any], high: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Give from where to where the sources lie in `[low, high)`, for each pair of bounds."""
    taken = (sources >= low[:, None]) & (sources < high[:, None])
    first = taken.argmax(axis=1)
    last = taken.shape[1] - taken[:, ::-1].argmax(axis=1)
    return first, np.where(taken.any(axis=1), last, first)

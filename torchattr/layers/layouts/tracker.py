"""How a layer's values are laid out: spatial dimensions, tokens, or neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from torchattr.core.torch_private import DisableTorchFunction
from torchattr.layers.layouts.axes import BATCH, OTHER, Axes, Axis, Label, axis, others
from torchattr.layers.layouts.calls import tensors_in
from torchattr.layers.layouts.notes import TensorNotes
from torchattr.layers.layouts.sums import sliding_dims
from torchattr.layers.layouts.table import RULES, axes_of_results
from torchattr.layers.operations.names import base_name


@dataclass(frozen=True)
class Coordinate:
    """A spatial coordinate of an input.

    Attributes:
        input: the position of the input.
        dim: the input's dimension that runs over it.
        extent: the input's size along it. It is not compared: inputs of several sizes that a model
            adds position by position share their coordinates.
    """

    input: int
    dim: int
    extent: int = field(compare=False)


@dataclass
class Uses:
    """What a model does with a tensor later.

    Attributes:
        split: whether its last dimension was split or sliced.
    """

    split: bool = False


@dataclass(frozen=True)
class Layout:
    """Which dimensions of a layer's values are batch, channels and space.

    Attributes:
        batch: the batch dimension.
        spatial: for each dimension of the grid, in the input's order, the dimension of the values
            that holds it; for tokens, the one dimension that holds the whole grid.
        sizes: the sizes of the grid.
        coordinates: the input's coordinate of each dimension of the grid.
        before: number of tokens before those of the grid, such as a class token.
        after: number of tokens after them.
        uses: what the model does with the channels after the layer.
    """

    batch: int
    spatial: tuple[int, ...]
    sizes: tuple[int, ...]
    coordinates: tuple[Coordinate, ...] = ()
    before: int = 0
    after: int = 0
    uses: Uses = field(default_factory=lambda: Uses(), compare=False)

    @property
    def splits_channels(self) -> bool:
        """Whether the model splits the channels of tokens: they are queries, keys and values."""
        return self.kind == "tokens" and self.uses.split

    @property
    def kind(self) -> str:
        """`"channels first"`, `"channels last"`, `"tokens"` or `"not spatial"`."""
        if not self.sizes:
            return "not spatial"
        if len(self.spatial) < len(self.sizes):
            return "tokens"
        return "channels first" if self.spatial[0] > 1 else "channels last"

    def to_grid(self, values: Tensor) -> Tensor:
        """Return values as `(N, C, ...)`, without the tokens outside the grid.

        >>> tokens = Layout(0, (1,), (2, 3), before=1)
        >>> tokens.to_grid(torch.zeros(5, 7, 4)).shape
        torch.Size([5, 4, 2, 3])
        """
        if self.before or self.after:
            count = values.shape[self.spatial[0]] - self.before - self.after
            values = values.narrow(self.spatial[0], self.before, count)
        rest = [d for d in range(values.dim()) if d != self.batch and d not in self.spatial]
        moved = values.permute(self.batch, *rest, *self.spatial)
        channels = prod(moved.shape[1 : 1 + len(rest)])
        return moved.reshape(len(moved), channels, *self.sizes)


def channels_first(shape: Sequence[int]) -> Layout:
    """Return the layout `(N, C, ...)`."""
    return Layout(0, tuple(range(2, len(shape))), tuple(shape[2:]))


def channels_last(shape: Sequence[int]) -> Layout:
    """Return the layout `(N, ..., C)`."""
    return Layout(0, tuple(range(1, len(shape) - 1)), tuple(shape[1:-1]))


def is_dense(tensor: Tensor) -> bool:
    """Whether a tensor is strided, not nested and not quantised."""
    return tensor.layout is torch.strided and not tensor.is_nested and not tensor.is_quantized


def _all_dense(value: Any) -> bool:
    return all(map(is_dense, tensors_in(value)))


class LayoutTracker(TorchFunctionMode):
    """Tracks the dimensions of the inputs through a forward.

    It intercepts every call, and the function's name determines the effect on the axes. After an
    unknown function the axes are unknown, until a convolution shows which of them are spatial.

    Args:
        inputs: the model's inputs, `(N, ...)`.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self._axes: TensorNotes[Axes] = TensorNotes()
        self._uses: TensorNotes[Uses] = TensorNotes()
        self._batch = len(inputs[0]) if inputs and inputs[0].dim() else 0
        self._inputs = [tuple(tensor.shape) for tensor in inputs]
        self._slid: set[Label] = set()
        for position, tensor in enumerate(inputs):
            self._axes[tensor] = tuple(
                axis(Coordinate(self._plane(position), dim, size) if dim else BATCH, size)
                for dim, size in enumerate(tensor.shape)
            )

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if isinstance(result, (Tensor, tuple, list)):
            # The calls made here are not the model's.
            with DisableTorchFunction():
                if _all_dense([args, kwargs, result]):
                    self.note(func, args, kwargs, result)
        return result

    def axes(self, tensor: Tensor) -> Axes | None:
        """Return the axes of a tensor, if known."""
        axes = self._axes.get(tensor)
        return axes if axes is not None and len(axes) == tensor.dim() else None

    def copy_axes(self, source: Tensor, result: Tensor) -> None:
        """Assume that a result of the same shape, computed unseen, has the axes of its source."""
        known = self.axes(source)
        if known is None or not is_dense(result) or self.axes(result) is not None:
            return
        if source.shape == result.shape:
            self._axes[result] = known

    def layout(self, tensor: Tensor) -> Layout | str:
        """Return the layout of a tensor, or why it is unknown."""
        if not is_dense(tensor):
            return "it is sparse, nested or quantised, and such tensors are not read as maps"
        axes = self.axes(tensor)
        if axes is None:
            return _unknown(tensor)
        layout = self.layout_of(axes)
        if isinstance(layout, Layout):
            return replace(layout, uses=self._uses_of(tensor))
        return layout

    def layout_of(self, axes: Axes) -> Layout | str:
        """Return the layout of values with these axes, or why they have none."""
        return layout_of(axes, self._spatial)

    def _uses_of(self, tensor: Tensor) -> Uses:
        uses = self._uses.get(tensor)
        if uses is None:
            uses = self._uses[tensor] = Uses()
        return uses

    def _plane(self, position: int) -> int:
        """Return the first input with as many dimensions as this one: their grids are aligned."""
        dims = len(self._inputs[position])
        return next(i for i, shape in enumerate(self._inputs) if len(shape) == dims)

    @property
    def _spatial(self) -> set[Label]:
        """The spatial coordinates: those that windows slid over, else all after the channels."""
        slid = {label for label in self._slid if isinstance(label, Coordinate)}
        if slid:
            return set(slid)
        return {
            Coordinate(self._plane(position), dim, shape[dim])
            for position, shape in enumerate(self._inputs)
            for dim in range(2, len(shape))
        }

    def note(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
        """Record the axes of what a call returned."""
        name = base_name(func)
        slides = RULES.get(name) is RULES["conv2d"]
        given = list(tensors_in([args, kwargs]))
        if slides and given:
            self._anchor(func, given[0])
        if not any(self.axes(tensor) is not None for tensor in given):
            return
        for tensor, axes in axes_of_results(func, args, kwargs, result, self.axes):
            self._axes[tensor] = axes
            self._note_uses(given[0], tensor, name)

    def _note_uses(self, source: Tensor, result: Tensor, name: str) -> None:
        """Record that the last dimension was split, even through other views."""
        uses = self._uses.get(source)
        if uses is None or source.dim() < 2:
            return
        if RULES.get(name) not in (RULES["view"], RULES["chunk"]):
            return
        if result.dim() > source.dim() or result.shape[-1] < source.shape[-1]:
            uses.split = True
        elif source.dim() == result.dim():
            self._uses[result] = uses

    def _anchor(self, func: Any, tensor: Tensor) -> None:
        """Treat the dimensions that a window slides over as spatial."""
        known = self.axes(tensor)
        dims = sliding_dims(func, known or others(tensor.shape))
        if known is None and tensor.dim() == dims + 2 and len(tensor) == self._batch:
            alike = next((shape for shape in self._inputs if len(shape) == dims + 2), None)
            if alike is None:
                return
            position = self._inputs.index(alike)
            known = (
                axis(BATCH, len(tensor)),
                axis(OTHER, tensor.shape[1]),
                *(
                    axis(Coordinate(position, dim, alike[dim]), tensor.shape[dim])
                    for dim in range(2, dims + 2)
                ),
            )
            self._axes[tensor] = known
        elif known is not None and self._is_batch_again(known, dims):
            known = (axis(BATCH, len(tensor)), *known[1:])
            self._axes[tensor] = known
        for slid in (known or ())[len(known or ()) - dims :]:
            self._slid.update(label for label in slid.labels if label not in (OTHER, BATCH))

    def _is_batch_again(self, axes: Axes, dims: int) -> bool:
        """Whether separate examples were stacked to a batch again, as detectors do."""
        first, rest = axes[0], axes[len(axes) - dims :]
        return (
            len(axes) == dims + 2
            and first.size == self._batch
            and first.labels in ((), (OTHER,))
            and not any(BATCH in one.labels for one in axes)
            and all(len(one.labels) == 1 and isinstance(one.labels[0], Coordinate) for one in rest)
        )


def layout_of(axes: Axes, spatial: set[Label]) -> Layout | str:
    """Return the layout of values with these axes, or why they have none.

    Args:
        axes: the axes of a layer's values.
        spatial: the spatial coordinates of the inputs.
    """
    batch = [dim for dim, one in enumerate(axes) if BATCH in one.labels]
    if not batch:
        return _LOST
    if len(batch) != 1 or axes[batch[0]].labels != (BATCH,) or not axes[batch[0]].is_plain:
        return _WITHOUT_BATCH
    grid = [dim for dim, one in enumerate(axes) if _leads(one, spatial)]
    moved = [label for one in axes for label in one.labels if not _is_known(label, spatial)]
    if moved:
        return "its positions were moved (mirrored, shifted, warped or Fourier-transformed)"
    if not grid and all(one.size == 1 for one in axes[2:]):
        return channels_first([one.size for one in axes])
    if not grid:
        return "none of its dimensions is known to be spatial"
    if len(grid) == 1 and sum(label in spatial for label in axes[grid[0]].labels) > 1:
        return _tokens(batch[0], grid[0], axes)
    labels = [axes[dim].labels[0] for dim in grid]
    if len(set(labels)) < len(labels) or any(not axes[dim].is_plain for dim in grid):
        return "several of its dimensions run over the same positions, as attention weights do"
    if len({label.input for label in labels if isinstance(label, Coordinate)}) > 1:
        return "its dimensions run over the positions of several inputs"
    if len(grid) < _spatial_dims(labels[0], spatial) and _has_further(axes, batch[0], grid):
        return "only some of its spatial dimensions are known"
    grid.sort(key=lambda dim: _order(axes[dim].labels[0]))
    return Layout(
        batch[0],
        tuple(grid),
        tuple(axes[dim].size for dim in grid),
        tuple(label for dim in grid if isinstance(label := axes[dim].labels[0], Coordinate)),
    )


def _spatial_dims(label: Label, spatial: set[Label]) -> int:
    """Return the number of spatial coordinates of a label's input."""
    of = label.input if isinstance(label, Coordinate) else None
    return sum(isinstance(other, Coordinate) and other.input == of for other in spatial)


def _has_further(axes: Axes, batch: int, grid: Sequence[int]) -> bool:
    """Whether more than one dimension is left for the channels."""
    rest = [dim for dim in range(len(axes)) if dim != batch and dim not in grid]
    return sum(dim == 1 or axes[dim].size > 1 for dim in rest) > 1


_LOST = (
    "it is unknown which of its dimensions is the batch, because a function before it rearranges"
    " them (picks examples, regions or frames, say)"
)

_WITHOUT_BATCH = (
    "its first dimension is not the batch of the inputs (frames, windows, regions or heads may be"
    " folded into it)"
)


def _unknown(tensor: Tensor) -> str:
    return f"it is unknown how its values of shape {tuple(tensor.shape)} depend on the inputs"


def _is_known(label: Label, spatial: set[Label]) -> bool:
    return label in spatial or label in (OTHER, BATCH) or isinstance(label, Coordinate)


def _leads(one: Axis, spatial: set[Label]) -> bool:
    """Whether an axis is spatial; channels may hold the low digits of spatial coordinates."""
    return bool(one.digits) and one.labels[0] in spatial


def _order(label: Label) -> int:
    return label.dim if isinstance(label, Coordinate) else 0


def _tokens(batch: int, dim: int, axes: Axes) -> Layout | str:
    row = axes[dim]
    labels = row.labels
    if (
        len(axes) != 3
        or len(set(labels)) < len(labels)
        or not all(isinstance(label, Coordinate) for label in labels)
    ):
        return "it mixes spatial and other dimensions"
    coordinates = tuple(label for label in labels if isinstance(label, Coordinate))
    dims = [coordinate.dim for coordinate in coordinates]
    if dims != sorted(dims):
        return "its tokens are not in row-major order of the grid"
    sizes = tuple(digit.size for digit in row.digits)
    return Layout(batch, (dim,), sizes, coordinates, row.before, row.after)

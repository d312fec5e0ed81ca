"""How a layer's values are laid out: spatial dimensions, tokens, or neither."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

from torch import Tensor

from torchattr.layers.layouts.axes import BATCH, OTHER, Axes, Axis, Label, Padded, bare, padded_axis


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
        margins: for each dimension of the grid, the numbers of positions before and after it that
            padding added; empty if there are none.
        uses: what the model does with the channels after the layer.
    """

    batch: int
    spatial: tuple[int, ...]
    sizes: tuple[int, ...]
    coordinates: tuple[Coordinate, ...] = ()
    before: int = 0
    after: int = 0
    margins: tuple[tuple[int, int], ...] = ()
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
        """Return values as `(N, C, ...)`, without the tokens and the padding outside the grid.

        >>> import torch
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
        margins = self.margins or ((0, 0),) * len(self.sizes)
        grid = moved.reshape(len(moved), channels, *map(_with_margins, self.sizes, margins))
        for dim, (size, (before, _)) in enumerate(zip(self.sizes, margins, strict=True), 2):
            grid = grid.narrow(dim, before, size)
        return grid


def _with_margins(size: int, margins: tuple[int, int]) -> int:
    return size + sum(margins)


def channels_first(shape: Sequence[int]) -> Layout:
    """Return the layout `(N, C, ...)`."""
    return Layout(0, tuple(range(2, len(shape))), tuple(shape[2:]))


def channels_last(shape: Sequence[int]) -> Layout:
    """Return the layout `(N, ..., C)`."""
    return Layout(0, tuple(range(1, len(shape) - 1)), tuple(shape[1:-1]))


def reading(shape: Sequence[int], tracked: Layout | str, inputs: Sequence[Tensor]) -> Layout | str:
    """Return how all of the package reads a layer's values, or why they are no maps.

    Args:
        shape: the shape of the values.
        tracked: the layout that was tracked, or why it is unknown.
        inputs: the model's inputs. Tables and texts have no spatial dimensions, so their layers are
            rows of channels.
    """
    return channels_first(shape) if all(one.dim() < 3 for one in inputs) else tracked


def layout_of(axes: Axes, spatial: set[Label]) -> Layout | str:
    """Return the layout of values with these axes, or why they have none.

    Args:
        axes: the axes of a layer's values.
        spatial: the spatial coordinates of the inputs.
    """
    axes = tuple(map(_as_padded, axes))
    layout = _padded_layout(tuple(map(bare, axes)), spatial)
    if isinstance(layout, str) or not layout.sizes:
        return layout
    rest = _rest(axes, layout.batch, layout.spatial)
    if sum(axes[dim].size > 1 for dim in rest) > 1:
        return "it has several non-spatial dimensions, as heads and groups have"
    return _without_padding(layout, axes)


def _as_padded(one: Axis) -> Axis:
    """Take what was joined to a single coordinate for padding; tokens are joined to several."""
    if one.is_plain or len(one.digits) != 1:
        return one
    return padded_axis(Axis(one.digits), one.before, one.after, one.size)


def _without_padding(layout: Layout, axes: Axes) -> Layout | str:
    """Return the layout without the positions that padding added to the grid."""
    labels = [label for dim in layout.spatial for label in axes[dim].labels]
    if not any(isinstance(label, Padded) for label in labels):
        return layout
    if len(labels) != len(layout.sizes):
        return "it mixes padding with other dimensions"
    margins = tuple(
        (label.before, label.after) if isinstance(label, Padded) else (0, 0) for label in labels
    )
    sizes = tuple(size - sum(pair) for size, pair in zip(layout.sizes, margins, strict=True))
    return replace(layout, sizes=sizes, margins=margins)


def _padded_layout(axes: Axes, spatial: set[Label]) -> Layout | str:
    """Return the layout of a grid with all that padding added to it."""
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
    if len(set(labels)) < len(labels):
        return "several of its dimensions run over the same positions, as attention weights do"
    if len({label.input for label in labels if isinstance(label, Coordinate)}) > 1:
        return "its dimensions run over the positions of several inputs"
    partial = len(grid) < _spatial_dims(labels[0], spatial)
    rest = _rest(axes, batch[0], grid)
    if partial and sum(dim == 1 or axes[dim].size > 1 for dim in rest) > 1:
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


def _rest(axes: Axes, batch: int, grid: Sequence[int]) -> list[int]:
    """Return the dimensions that are left for the channels."""
    return [dim for dim in range(len(axes)) if dim != batch and dim not in grid]


_LOST = (
    "it is unknown which of its dimensions is the batch, because a function before it rearranges"
    " them (picks examples, regions or frames, say)"
)

_WITHOUT_BATCH = (
    "its first dimension is not the batch of the inputs (frames, windows, regions or heads may be"
    " folded into it)"
)


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

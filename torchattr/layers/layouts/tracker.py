"""How the values of a layer are laid out: a grid of places, tokens, or no picture at all."""

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
from torchattr.layers.layouts.calls import base_name, tensors_in
from torchattr.layers.layouts.notes import TensorNotes
from torchattr.layers.layouts.sums import places_of
from torchattr.layers.layouts.table import RULES, axes_of_results


@dataclass(frozen=True)
class Coordinate:
    """A coordinate of the places of an input.

    Attributes:
        input: the position of the input.
        dim: the input's dimension that runs through it.
        extent: how many places the input has along it. Inputs of several sizes that a model adds
            place by place have the same coordinates.
    """

    input: int
    dim: int
    extent: int = field(compare=False)


@dataclass
class Uses:
    """What a model does with a tensor afterwards.

    Attributes:
        split: whether its last dimension was split or cut.
    """

    split: bool = False


@dataclass(frozen=True)
class Layout:
    """Which dimensions of a layer's values hold the batch, the channels and the places.

    Attributes:
        batch: the dimension of the batch.
        spatial: for each dimension of the grid of places, in the input's order, the dimension of
            the values that holds it; one dimension holds all of them for tokens.
        sizes: how many places there are along each.
        places: which of the input's coordinates these are.
        before: tokens that stand before those of the grid, such as a class token.
        after: tokens that stand after them.
        uses: what became of the channels after the layer.
    """

    batch: int
    spatial: tuple[int, ...]
    sizes: tuple[int, ...]
    places: tuple[Coordinate, ...] = ()
    before: int = 0
    after: int = 0
    uses: Uses = field(default_factory=lambda: Uses(), compare=False)

    @property
    def splits_channels(self) -> bool:
        """Whether the model splits the channels of tokens: they are queries, keys and values."""
        return self.kind == "tokens" and self.uses.split

    @property
    def kind(self) -> str:
        """`"channels first"`, `"channels last"`, `"tokens"` or `"no places"`."""
        if not self.sizes:
            return "no places"
        if len(self.spatial) < len(self.sizes):
            return "tokens"
        return "channels first" if self.spatial[0] > 1 else "channels last"

    def to_grid(self, values: Tensor) -> Tensor:
        """Return values as `(N, C, ...)`, the places last; tokens outside the grid are left out.

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
    """Whether a tensor has a number at each place of its shape."""
    return tensor.layout is torch.strided and not tensor.is_nested and not tensor.is_quantized


def _all_dense(value: Any) -> bool:
    return all(map(is_dense, tensors_in(value)))


class LayoutTracker(TorchFunctionMode):
    """Follows the dimensions of the inputs through a forward.

    Every call is seen once; what it does to the axes is known by its name. Where it is not, nothing
    is known of its result, until a convolution says where its places are.

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
            # Nothing that is asked of tensors here is the model's.
            with DisableTorchFunction():
                if _all_dense([args, kwargs, result]):
                    self._note(func, args, kwargs, result)
        return result

    def axes(self, tensor: Tensor) -> Axes | None:
        """Return what is known of the dimensions of a tensor."""
        found = self._axes.get(tensor)
        return found if found is not None and len(found) == tensor.dim() else None

    def hand_on(self, source: Tensor, result: Tensor) -> None:
        """Take a tensor of the same shape, made out of sight, to have the same axes."""
        known = self.axes(source)
        if known is None or not is_dense(result) or self.axes(result) is not None:
            return
        if source.shape == result.shape:
            self._axes[result] = known

    def layout(self, tensor: Tensor) -> Layout | str:
        """Return how a tensor is laid out, or why that is not known."""
        if not is_dense(tensor):
            return "it is sparse, nested or quantised, and such tensors are not read as maps"
        axes = self.axes(tensor)
        if axes is None:
            return _no_picture_known(tensor)
        found = layout_of(axes, self._spatial)
        if isinstance(found, Layout):
            return replace(found, uses=self._uses_of(tensor))
        return found

    def _uses_of(self, tensor: Tensor) -> Uses:
        uses = self._uses.get(tensor)
        if uses is None:
            uses = self._uses[tensor] = Uses()
        return uses

    def _plane(self, position: int) -> int:
        """Return the first input with as many dimensions as this one: their places are aligned."""
        dims = len(self._inputs[position])
        return next(i for i, shape in enumerate(self._inputs) if len(shape) == dims)

    @property
    def _spatial(self) -> set[Label]:
        """The coordinates of places: those that windows slid over, else all beyond the channels."""
        slid = {label for label in self._slid if isinstance(label, Coordinate)}
        if slid:
            return set(slid)
        return {
            Coordinate(self._plane(position), dim, shape[dim])
            for position, shape in enumerate(self._inputs)
            for dim in range(2, len(shape))
        }

    def _note(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> None:
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
        """Note that the last dimension was split, whatever views were taken before."""
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
        """Take the dimensions that a window slides over for those of the places."""
        known = self.axes(tensor)
        places = places_of(func, known or others(tensor.shape))
        if known is None and tensor.dim() == places + 2 and len(tensor) == self._batch:
            alike = next((s for s in self._inputs if len(s) == places + 2), None)
            if alike is None:
                return
            position = self._inputs.index(alike)
            known = (
                axis(BATCH, len(tensor)),
                axis(OTHER, tensor.shape[1]),
                *(
                    axis(Coordinate(position, dim, alike[dim]), tensor.shape[dim])
                    for dim in range(2, places + 2)
                ),
            )
            self._axes[tensor] = known
        elif known is not None and self._is_batch_again(known, places):
            known = (axis(BATCH, len(tensor)), *known[1:])
            self._axes[tensor] = known
        for one in (known or ())[len(known or ()) - places :]:
            self._slid.update(label for label in one.labels if label not in (OTHER, BATCH))

    def _is_batch_again(self, axes: Axes, places: int) -> bool:
        """Whether examples that were taken one by one, as detectors do, are put together again."""
        first, rest = axes[0], axes[len(axes) - places :]
        return (
            len(axes) == places + 2
            and first.size == self._batch
            and first.labels in ((), (OTHER,))
            and not any(BATCH in one.labels for one in axes)
            and all(len(one.labels) == 1 and isinstance(one.labels[0], Coordinate) for one in rest)
        )


def layout_of(axes: Axes, spatial: set[Label]) -> Layout | str:
    """Return the layout that axes mean, or why they mean none.

    Args:
        axes: those of a layer's values.
        spatial: the coordinates of the inputs' places.
    """
    batch = [dim for dim, one in enumerate(axes) if BATCH in one.labels]
    if not batch:
        return _LOST
    if len(batch) != 1 or axes[batch[0]].labels != (BATCH,) or not axes[batch[0]].is_plain:
        return _WITHOUT_BATCH
    placed = [dim for dim, one in enumerate(axes) if _leads(one, spatial)]
    moved = [label for one in axes for label in one.labels if not _is_known(label, spatial)]
    if moved:
        return "its places were moved about (mirrored, shifted, warped or made to frequencies)"
    if not placed and all(one.size == 1 for one in axes[2:]):
        return channels_first([one.size for one in axes])
    if not placed:
        return "none of its dimensions is known to run through places"
    if len(placed) == 1 and sum(label in spatial for label in axes[placed[0]].labels) > 1:
        return _tokens(batch[0], placed[0], axes)
    labels = [axes[dim].labels[0] for dim in placed]
    if len(set(labels)) < len(labels) or any(not axes[dim].is_plain for dim in placed):
        return "several of its dimensions run through the same places, as attention weights do"
    if len({place.input for place in labels if isinstance(place, Coordinate)}) > 1:
        return "its dimensions run through the places of several inputs"
    if len(placed) < _count_of_places(labels[0], spatial) and _has_further(axes, batch[0], placed):
        return "only some of the coordinates of its places are known"
    placed.sort(key=lambda dim: _order(axes[dim].labels[0]))
    return Layout(
        batch[0],
        tuple(placed),
        tuple(axes[dim].size for dim in placed),
        tuple(label for dim in placed if isinstance(label := axes[dim].labels[0], Coordinate)),
    )


def _count_of_places(label: Label, spatial: set[Label]) -> int:
    """Return how many coordinates the places of an input have."""
    of = label.input if isinstance(label, Coordinate) else None
    return sum(isinstance(one, Coordinate) and one.input == of for one in spatial)


def _has_further(axes: Axes, batch: int, placed: Sequence[int]) -> bool:
    """Whether there are more dimensions than one for the channels."""
    rest = [dim for dim in range(len(axes)) if dim != batch and dim not in placed]
    return sum(dim == 1 or axes[dim].size > 1 for dim in rest) > 1


_LOST = (
    "which of its dimensions is the batch is not known, because a function on the way moves them"
    " about (picks examples, regions or frames, say)"
)

_WITHOUT_BATCH = (
    "its first dimension is not the batch of the inputs (frames, windows, regions or heads may be"
    " folded into it)"
)


def _no_picture_known(tensor: Tensor) -> str:
    return f"how its values of shape {tuple(tensor.shape)} came from the inputs is not known"


def _is_known(label: Label, spatial: set[Label]) -> bool:
    return label in spatial or label in (OTHER, BATCH) or isinstance(label, Coordinate)


def _leads(one: Axis, spatial: set[Label]) -> bool:
    """Whether an axis runs through places; channels may hold the low digits of some."""
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
        return "it mixes places with other dimensions"
    places = tuple(label for label in labels if isinstance(label, Coordinate))
    if [place.dim for place in places] != sorted(place.dim for place in places):
        return "its tokens do not run through the places row by row"
    sizes = tuple(digit.size for digit in row.digits)
    return Layout(batch, (dim,), sizes, places, row.before, row.after)

"""Converts a layer's values to a grid `(N, C, h, w)`, or refuses them, and enlarges maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import torch.nn.functional as F
from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.core.warn import warn
from torchattr.errors import (
    Hint,
    InputError,
    InputTypeError,
    LayerError,
    NotSpatialWarning,
    ShapeError,
    WayOut,
)
from torchattr.layers import Layout, channels_first, channels_last, reading

Named = Literal["channels_first", "channels_last", "tokens"]
LayoutChoice: TypeAlias = "Named | Callable[[Tensor], Tensor] | None"
"""The layout of a layer, by name or function; `None` infers it."""


NOT_INFERRED = "its layout was named"
"""Why nothing is known of a layout that is not inferred, since the user named it."""


def checked_layout(layout: LayoutChoice) -> LayoutChoice:
    """Return a layout unchanged after a check.

    Raises:
        InputError: neither a known name nor a function.
    """
    if layout is None or callable(layout) or layout in get_args(Named):
        return layout
    raise InputError(
        f"layout must be one of {', '.join(map(repr, get_args(Named)))}, a function from a layer's"
        f" values to (N, C, h, w), or None, got {layout!r}"
    )


class Grids:
    """Turns values and gradients of one layer into `(N, C, ...)`.

    Args:
        name: the layer's name.
        inputs: the model's inputs.
        choice: the layout that the user named, if any.
    """

    def __init__(self, name: str, inputs: Inputs, choice: LayoutChoice = None) -> None:
        self._name = name
        self._inputs = inputs
        self._choice = choice

    def of(self, values: Tensor, gradients: Tensor, layout: Layout | str) -> tuple[Tensor, Tensor]:
        """Return values and gradients as grids.

        Args:
            values: the layer's.
            gradients: the gradients with respect to them.
            layout: the layout that was inferred, or why there is none.

        Raises:
            LayerError: they have no grid, or a different first dimension than the inputs.
        """
        if callable(self._choice):
            grids = self._choice(values), self._choice(gradients)
        else:
            chosen = self._layout(values, layout)
            grids = chosen.to_grid(values), chosen.to_grid(gradients)
        if len(grids[0]) != self._inputs.batch_size:
            raise LayerError(
                f"layer {self._name!r} returns {len(grids[0])} rows for {self._inputs.batch_size}"
                " examples (frames, windows or regions may be folded into its first dimension), so"
                " no map can be assigned to an example; choose another layer"
            )
        return grids

    def _layout(self, values: Tensor, inferred: Layout | str) -> Layout:
        if self._choice == "channels_last":
            return channels_last(values.shape)
        if self._choice == "tokens":
            return self._tokens(values)
        if self._choice == "channels_first":
            return channels_first(values.shape)
        found = reading(values.shape, inferred, self._inputs.tensors)
        if isinstance(found, Layout):
            return found
        raise LayerError(
            f"layer {self._name!r} returns values of shape {tuple(values.shape)}, which cannot be"
            f" read as a map: {found}",
            hint=Hint(
                ways_out=[
                    WayOut("choose another layer"),
                    WayOut(
                        "name its layout ('channels_first', 'channels_last' or 'tokens')"
                        " with {setting}",
                        "layout",
                    ),
                ]
            ),
        )

    def _tokens(self, values: Tensor) -> Layout:
        extents = next(
            (tensor.shape[2:] for tensor in self._inputs.tensors if tensor.dim() == 4), None
        )
        if values.dim() != 3 or extents is None:
            raise ShapeError(
                "{setting} needs values (N, tokens, C) of an image, but layer"
                f" {self._name!r} returns {tuple(values.shape)}",
                hint=Hint("layout", "tokens"),
            )
        height, width = grid_of_tokens(values.shape[1], extents[0], extents[1])
        return Layout(0, (1,), (height, width), before=values.shape[1] - height * width)


def warn_of_numbers(title: str, name: str, maps: Iterable[Tensor]) -> None:
    """Warn of maps `(N, C, ...)` of a layer without positions, as of a linear layer.

    Args:
        title: the method's.
        name: the layer's.
        maps: what it gives.
    """
    if any(one.dim() < 3 for one in maps):
        warn(
            f"{title}: layer {name!r} has no positions, so that its map is a single number for each"
            " example; choose a layer before the global pooling or the flattening",
            NotSpatialWarning,
        )


def grid_of_tokens(tokens: int, height: int, width: int) -> tuple[int, int]:
    """Return the largest grid with an image's aspect ratio that this many tokens can fill.

    >>> grid_of_tokens(197, 224, 224), grid_of_tokens(99, 96, 192)
    ((14, 14), (7, 14))
    """
    sizes = [(rows, max(round(rows * width / height), 1)) for rows in range(1, tokens + 1)]
    return max((size for size in sizes if size[0] * size[1] <= tokens), key=lambda s: s[0] * s[1])


def enlarge(maps: Tensor, size: Sequence[int], mode: str = "bilinear") -> Tensor:
    """Resize maps `(N, C, ...)` to spatial extents, as `F.interpolate` does.

    Raises:
        InputTypeError: maps that are no tensor, or a size that is no tuple of ints.
        ShapeError: the number of spatial dimensions differs, or is not 1 to 3.
        InputError: a mode that does not exist, or does not support this number of dimensions.
    """
    if not isinstance(maps, Tensor):
        raise InputTypeError(f"a map must be a tensor (N, C, ...), got {type(maps).__name__}")
    if not isinstance(size, (tuple, list)) or any(
        isinstance(one, (float, str, list)) for one in size
    ):
        raise InputTypeError(f"a spatial size must be a tuple of ints, got {size!r}")
    if not fits(maps, size):
        raise ShapeError(
            f"a map of shape {tuple(maps.shape)} cannot be enlarged to {tuple(size)}: its number"
            " of spatial dimensions differs; choose a layer whose output has as many as the input"
        )
    if any(int(side) < 1 for side in size):
        raise InputError(f"a spatial size must be at least 1, got {tuple(size)}")
    check_mode(mode, len(size))
    corners = {} if len(_MODES[mode]) > 1 else {"align_corners": False}
    return F.interpolate(maps, tuple(size), mode=mode, **corners)


_MODES: Mapping[str, Sequence[int]] = {
    **dict.fromkeys(("nearest", "nearest-exact", "area"), (1, 2, 3)),
    "linear": (1,),
    "bilinear": (2,),
    "bicubic": (2,),
    "trilinear": (3,),
}
"""The numbers of spatial dimensions of each mode; modes for a single number are smooth."""


def fits(maps: Tensor, size: Sequence[int]) -> bool:
    """Whether maps `(N, C, ...)` can be enlarged to these spatial extents."""
    return maps.dim() - 2 == len(size) and len(size) in (1, 2, 3)


def check_mode(mode: Any, dimensions: int | None = None) -> None:
    """Check a mode of `F.interpolate`, for a number of spatial dimensions if that is known.

    Raises:
        InputError: a mode that does not exist, or does not support this number of dimensions.
    """
    modes = [known for known, spatial in _MODES.items() if dimensions in (None, *spatial)]
    if mode not in modes:
        raise InputError(
            f"interpolate_mode must be one of {', '.join(map(repr, modes))} here, got {mode!r}"
        )


def from_0_to_1(maps: Tensor) -> Tensor:
    """Return each example's map between 0 and 1; one that is the same everywhere is 0.

    >>> import torch
    >>> from_0_to_1(torch.tensor([[2.0, 4.0, 3.0], [5.0, 5.0, 5.0]])).tolist()
    [[0.0, 1.0, 0.5], [0.0, 0.0, 0.0]]
    """
    flat = maps.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    spread = high - low
    return ((flat - low) / spread.where(spread > 0, 1)).view_as(maps)

"""Drawing inputs, signals, feature maps and kernels, one by one or on a captioned grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from torchattr.core.arguments import plain_numbers
from torchattr.errors import InputError, LayerError, ShapeError
from torchattr.show import (
    BAR,
    COLOR,
    CaptionedGrid,
    GridCell,
    Legend,
    Sign,
    as_floats,
    colormap,
    image_normalization,
    reduce_channels,
    rescale,
    scale_of,
    short_number,
    value_range,
)

CELL = 192
"""Length of the shorter side of pictures on a grid."""

SIGNAL_CLIPPED = 99.8
SIGNAL_NOTE = (
    "Each is scaled by its own largest magnitude; the strongest"
    f" {100 - SIGNAL_CLIPPED:.1g} % of its values are clipped."
)
"""How signals are scaled."""

OUTSIDE_NOTE = "Plain parts lie outside of the picture."

_LONGEST = 3
_COARSE = 4
_STRIP = 8
"""Length of a one-dimensional map per unit of the height that it is drawn with."""


def draw_signal(values: Any) -> np.ndarray:
    """Draw a signed signal `(C, H, W)` around mid grey, which is zero, as uint8 `(H, W, 3)`.

    One and three channels keep their colours; others are summed to grey.
    """
    array = _picture(values)
    if len(array) not in (1, 3):
        array = reduce_channels(values, "sum")[None]
    scaled = rescale(array, "all", SIGNAL_CLIPPED, shared=True)
    return _bytes(scaled * 127.5 + 127.5)


def draw_input(values: Any) -> np.ndarray:
    """Draw an input `(C, H, W)` of unknown normalisation, stretched over all brightnesses."""
    array = _picture(values)
    if len(array) not in (1, 3):
        array = reduce_channels(values, "mean")[None]
    return _bytes(image_normalization(array))


def signal_legend(channels: int) -> Legend:
    """Return what the colours of signals with this number of channels mean."""
    colors = channels == 3
    bar = COLOR.bar((-1, 1), 3 if colors else 1, *BAR)
    meaning = "Negative to positive in each colour" if colors else "Negative to positive"
    return Legend(bar, ("−max", "max"), f"{meaning}; mid grey is zero")


def photo_size(width: int, height: int, cell: int) -> tuple[int, int]:
    """Return the width and height in units of a picture with this number of pixels.

    Its shorter side is as long as a cell, or twice that if it has as many pixels; its longer side
    is at most three cells long.
    """
    short, long = min(width, height), max(width, height)
    factor = 1.0 if cell <= short <= 2 * cell else cell / short
    factor = min(factor, _LONGEST * cell / long)
    return max(1, round(width * factor)), max(1, round(height * factor))


def photo_tiles(
    several: Sequence[Sequence[np.ndarray]], captions: Sequence[Sequence[str]], cell: int
) -> list[GridCell]:
    """Return tiles of pictures under one magnification; few pixels are shown as squares."""
    heights, widths = zip(*(pictures[0].shape[:2] for pictures in several), strict=True)
    factor = photo_size(max(widths), max(heights), cell)[0] / max(widths)
    smooth = factor <= _COARSE
    return [
        GridCell(pictures, (max(1, round(w * factor)), max(1, round(h * factor))), caption, smooth)
        for pictures, caption, w, h in zip(several, captions, widths, heights, strict=True)
    ]


def in_windows(
    several: Sequence[Sequence[np.ndarray]],
    fields: Sequence[Sequence[slice] | None],
    outside: tuple[int, int, int],
) -> list[list[np.ndarray]]:
    """Return pictures of receptive fields, all in windows as large as the largest field.

    A field that is cut off at a border lies in its window where the whole one would, so that the
    position that it belongs to is at the same place in each.

    several: uint8 `(H, W, 3)`, for each field. fields: in pixels; `None` leaves its pictures as
    they are. outside: the colour of what lies beyond the border.
    """
    known = [field for field in fields if field is not None]
    window = [max(one.stop - one.start for one in sides) for sides in zip(*known, strict=True)]
    return [
        list(pictures)
        if field is None
        else [_in_window(picture, field, window, outside) for picture in pictures]
        for pictures, field in zip(several, fields, strict=True)
    ]


def are_cut(fields: Sequence[Sequence[slice] | None]) -> bool:
    """Whether some receptive fields are smaller than others, as they are at borders."""
    return len({tuple(s.stop - s.start for s in one) for one in fields if one is not None}) > 1


def _in_window(
    picture: np.ndarray,
    field: Sequence[slice],
    window: Sequence[int],
    outside: tuple[int, int, int],
) -> np.ndarray:
    size = tuple(one.stop - one.start for one in field)
    if picture.shape[:2] != size:  # A display of the caller's may change the size.
        return picture
    top, left = (
        side - length if one.start == 0 else 0
        for one, side, length in zip(field, window, size, strict=True)
    )
    canvas = np.full((*window, 3), outside, np.uint8)
    canvas[top : top + size[0], left : left + size[1]] = picture
    return canvas


def _picture(values: Any) -> np.ndarray:
    array = as_floats(values)
    if array.ndim != 3 or 0 in array.shape:
        raise ShapeError(f"only pictures (C, H, W) can be drawn, got the shape {array.shape}")
    return array


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.broadcast_to(
        np.rint(np.moveaxis(array, 0, -1)).astype(np.uint8), (*array.shape[1:], 3)
    ).copy()


@dataclass(frozen=True)
class Planes:
    """Two-dimensional maps `(n, H, W)`, each with its caption."""

    values: np.ndarray
    captions: Sequence[str]

    @classmethod
    def of(cls, maps: Tensor, names: Sequence[str]) -> Planes:
        """Make planes from maps `(n, W)`, `(n, H, W)` or `(n, D, H, W)`.

        Raises:
            LayerError: maps of more dimensions, or without values.
        """
        values = as_floats(maps, "maps")
        if 0 in values.shape:
            raise LayerError(f"the maps have the shape {values.shape}, so there is nothing to draw")
        if values.ndim == 2:
            values = values[:, None].repeat(math.ceil(values.shape[1] / _STRIP), axis=1)
        if values.ndim == 4:
            names = [f"{name}, plane {i}" for name in names for i in range(values.shape[1])]
            values = values.reshape(-1, *values.shape[2:])
        if values.ndim != 3:
            raise LayerError(
                f"the maps have {values.ndim - 1} dimensions after the channel; one, two or three"
                " can be drawn"
            )
        return cls(values, names)


@dataclass(frozen=True)
class PlaneStyle:
    """How planes are drawn.

    shared: scale all of them together instead of independently.
    percentile, cmap: see :func:`torchattr.show.rescale` and :func:`torchattr.show.colormap`.
    columns: their number; `None` makes the grid nearly square.
    cell: minimum length of a plane's shorter side in units.
    signed: diverge around zero even if no value is negative.
    meaning: what the values are.
    """

    shared: bool
    percentile: float | None
    cmap: str | None
    columns: int | None
    cell: int
    signed: bool = False
    meaning: str = "Activation"

    def gallery(self, planes: Planes) -> tuple[CaptionedGrid, list[Legend], str]:
        """Return planes on a grid, the meaning of their colours, and a note on their scale.

        Raises:
            InputError: a cell or values out of range.
        """
        values = planes.values
        if (values < 0).any() and not self.signed:
            return replace(self, signed=True).gallery(planes)
        sign: Sign = "all" if self.signed else "positive"
        scaled = rescale(values, sign, self.percentile, self.shared)
        name = self.cmap or ("RdBu_r" if sign == "all" else "viridis")
        tiles = [
            map_tile(picture, self.cell, [f"{caption} · {self.range_of(plane)}"])
            for picture, caption, plane in zip(
                colormap(scaled, name), planes.captions, values, strict=True
            )
        ]
        legend = self._legend(scaled, name, scale_of(values, self.percentile))
        return CaptionedGrid(tiles, self.columns), [legend], self.note

    def _legend(self, scaled: np.ndarray, name: str, scale: float) -> Legend:
        low, high = min(0.0, float(scaled.min())), max(0.0, float(scaled.max()))
        ramp = np.broadcast_to(np.linspace(low, high, BAR[0]), (BAR[1], BAR[0]))
        if self.shared:
            ends = tuple(short_number(end * float(scale)) for end in (low, high))
        else:
            ends = tuple(_of_largest(end) for end in (low, high))
        return Legend(colormap(ramp, name), (ends[0], ends[1]), self.meaning)

    def range_of(self, values: np.ndarray) -> str:
        """Return the range of values for a caption; the largest one if none is negative."""
        return value_range(values, self.signed)

    @property
    def note(self) -> str:
        """How the planes are scaled."""
        of = "range" if self.signed else "largest value"
        scale = f"Each is scaled by its own largest magnitude; its {of} is below it."
        if self.shared:
            scale = f"All have one scale; the {of} of each is below it."
        if self.percentile in (None, 100):
            return scale
        return f"{scale} Magnitudes beyond percentile {self.percentile:g} are clipped."


def map_tile(picture: np.ndarray, cell: int, caption: Sequence[str]) -> GridCell:
    """Return a tile of a map, uint8 `(H, W, 3)`, enlarged by an integer factor.

    Its shorter side has at least `cell` units, but a long strip is at most three cells long.

    Raises:
        InputError: a cell out of range.
    """
    if not 1 <= cell <= 4096:
        raise InputError(f"cell must be within 1..4096 pixels, got {cell}")
    height, width = picture.shape[:2]
    longest = _LONGEST * cell // max(height, width)
    factor = max(1, min(math.ceil(cell / min(height, width)), longest))
    return GridCell([picture], (width * factor, height * factor), caption)


def _of_largest(share: float) -> str:
    """Return an end of a colour bar, as a share of the largest magnitude."""
    rounded = round(share, 2)
    whole = {-1.0: "−max", 0.0: "0", 1.0: "max"}
    return whole.get(rounded) or f"{short_number(rounded)} max"


def chosen_indices(chosen: Sequence[int] | int | None, count: int, name: str) -> list[int]:
    """Return the chosen indices, non-negative; `None` chooses all of them.

    Raises:
        InputError: no index, or one out of range.
    """
    if chosen is None:
        return list(range(count))
    given = plain_numbers(chosen)
    positions = [given] if isinstance(given, int) else list(given)
    if not positions:
        raise InputError(f"{name} is empty; leave it out for all {count}")
    for one in positions:
        if not isinstance(one, (int, np.integer)) or not -count <= one < count:
            raise InputError(f"{name} must be within 0..{count - 1}, got {one!r}")
    return [int(one) % count for one in positions]

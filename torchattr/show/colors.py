"""Colour maps as lookup tables."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from torchattr.core.arguments import check_choice
from torchattr.errors import InputError, ShapeError
from torchattr.show.arrays import as_floats
from torchattr.show.look import checked_color

SEQUENTIAL = ("viridis", "inferno", "magma", "plasma", "cividis", "gray", "turbo")
"""Colour maps for 0..1. All but the last two are perceptually uniform, and all but ``"turbo"``, a
rainbow whose ends are both dark, are readable in grey."""

DIVERGING = ("RdBu_r", "coolwarm", "PuOr_r", "bwr")
"""Colour maps for −1..1, with zero at their neutral middle."""

_TOLERANCE = 1e-6


def table(name: str) -> np.ndarray:
    """Return the 256 colours of a colour map, uint8 ``(256, 3)``, from low to high; read-only."""
    check_choice("colour map", name, SEQUENTIAL + DIVERGING)
    return _table(name)


@cache
def _table(name: str) -> np.ndarray:
    # Matplotlib takes a third of a second to import, and only its tables are needed.
    from matplotlib import colormaps

    colors = colormaps[name](np.arange(256), bytes=True)[:, :3].copy()
    colors.setflags(write=False)
    return colors


def is_diverging(name: str) -> bool:
    """Whether a colour map is meant for −1..1."""
    return name in DIVERGING


def colormap(
    values: Any, name: str | None = None, unknown: tuple[int, int, int] = (255, 255, 255)
) -> np.ndarray:
    """Map rescaled values to colours: ``(...)`` to uint8 RGB ``(..., 3)``.

    values: in 0..1 for a sequential map, in −1..1 for a diverging one; see ``rescale``.
    name: one of ``SEQUENTIAL`` or ``DIVERGING``. None uses ``"viridis"``, or ``"RdBu_r"`` if a
        value is negative.
    unknown: the colour of NaN.

    Raises ``InputError`` for an unknown name, values out of range, or no colour.

    >>> colormap([0.0, 1.0], "gray")
    array([[  0,   0,   0],
           [255, 255, 255]], dtype=uint8)
    """
    array = as_floats(values)
    name = default_colormap(array) if name is None else name
    color = checked_color(unknown, "unknown")
    unit = to_unit(array, name)
    missing = np.isnan(unit)
    index = np.rint(np.where(missing, 0, unit) * 255).astype(np.intp)
    return np.where(missing[..., None], np.array(color, np.uint8), table(name)[index])


def default_colormap(values: np.ndarray) -> str:
    """Return ``"viridis"``, or ``"RdBu_r"`` if a value is negative."""
    return "RdBu_r" if (values < 0).any() else "viridis"


def to_unit(array: np.ndarray, name: str) -> np.ndarray:
    """Return rescaled values as positions 0..1 in a colour map's table."""
    low = -1.0 if is_diverging(name) else 0.0
    known = array[~np.isnan(array)]
    smallest, largest = known.min(initial=0.0), known.max(initial=0.0)
    if smallest < low - _TOLERANCE or largest > 1 + _TOLERANCE:
        raise InputError(
            f"values for the colour map {name!r} must lie in {low:g}..1, "
            f"got {smallest:g} to {largest:g}; use rescale first"
        )
    return np.clip((array - low) / (1.0 - low), 0.0, 1.0)


def color_bar(width: int, height: int, name: str) -> np.ndarray:
    """Return a horizontal bar of a colour map, low at the left: uint8 ``(height, width, 3)``."""
    if width < 1 or height < 1:
        raise ShapeError(f"a colour bar must be at least 1×1 pixels, got {width}×{height}")
    row = table(name)[np.linspace(0, 255, width).round().astype(np.intp)]
    return np.broadcast_to(row, (height, width, 3)).copy()

"""What a drawn page consists of: pictures, rectangles and lines of text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from torchattr.show.look import RGB
from torchattr.show.text import TextLine


@dataclass(frozen=True, eq=False)
class Raster:
    """A picture, uint8 ``(H, W, 3)``, in a box: left, top, width and height, in units.

    smooth: whether its pixels are interpolated where they are enlarged.
    """

    pixels: np.ndarray
    box: tuple[float, float, float, float]
    smooth: bool = True


@dataclass(frozen=True)
class Rectangle:
    """A rectangle of one colour: left, top, width and height, in units."""

    box: tuple[float, float, float, float]
    color: RGB


Element: TypeAlias = "Raster | Rectangle | TextLine"

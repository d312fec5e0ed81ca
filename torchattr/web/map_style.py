"""How a map is drawn, as the page may change it: by the styles of `torchattr.show`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from torchattr.errors import InputError
from torchattr.show import (
    COLOR,
    DIVERGING,
    SEQUENTIAL,
    Color,
    Heat,
    How,
    Overlay,
    Sign,
    Style,
    faded,
    is_diverging,
    rescale,
)

MapKind = Literal["overlay", "heat", "color"]


@dataclass(frozen=True)
class Tinted(Style):
    """The colours of one sign of a map, with black for zero."""

    sign: Sign
    percentile: float = COLOR.percentile
    cmap: str = "gray"
    meaning: str = "zero (black) to the largest value of each colour"

    def reduce(self, values: np.ndarray) -> np.ndarray:
        return COLOR.reduce(values)

    def paint(self, picture: np.ndarray, values: np.ndarray) -> np.ndarray:
        scaled = rescale(values, self.sign, self.percentile, shared=True)
        bright = np.broadcast_to(np.moveaxis(scaled, 0, -1), picture.shape)
        unseen = np.isnan(bright[..., 0])
        drawn = np.rint(np.nan_to_num(bright) * 255).astype(np.uint8)
        return np.where(unseen[..., None], faded(picture, unseen), drawn)


@dataclass(frozen=True)
class MapStyle:
    """What the page sends to have a map drawn.

    Attributes:
        kind: over the picture, as heat alone, or in the picture's own colours.
        channels: see :func:`torchattr.show.reduce_channels`; colours are not reduced.
        sign: see :func:`torchattr.show.rescale`.
        percentile: likewise.
        cmap: see :func:`torchattr.show.colormap`; colours need none.
        alpha: the largest opacity over the picture.

    >>> Look.of(COLOR).kind, Look("color", sign="negative").style().sign
    ('color', 'negative')
    """

    kind: MapKind = "overlay"
    channels: How = "sum"
    sign: Sign = "positive"
    percentile: float = 100.0
    cmap: str = "viridis"
    alpha: float = 0.8

    @classmethod
    def of(cls, style: Style) -> MapStyle:
        """Give the look of a style; one of the user's own is shown as heat."""
        if isinstance(style, (Overlay, Heat)):
            kind: MapKind = "overlay" if isinstance(style, Overlay) else "heat"
            alpha = getattr(style, "alpha", cls.alpha)
            return cls(kind, style.how, style.sign, style.percentile, style.cmap, alpha)
        if isinstance(style, Color):
            return cls("color", "max_abs", "all", style.percentile, "RdBu_r")
        return cls("heat", "max_abs", "absolute", style.percentile, "inferno")

    def style(self) -> Style:
        """Give the style that draws it.

        Raises:
            InputError: a colour map that cannot show the sign, or a number out of range.
        """
        self._check()
        if self.kind == "color":
            one_sign = self.sign != "all"
            return Tinted(self.sign, self.percentile) if one_sign else Color(self.percentile)
        if self.kind == "heat":
            return Heat(self.channels, self.sign, self.percentile, self.cmap)
        return Overlay(self.channels, self.sign, self.percentile, self.cmap, alpha=self.alpha)

    def described(self) -> dict[str, Any]:
        return asdict(self)

    def _check(self) -> None:
        for name, value, allowed in (
            ("kind", self.kind, get_args(MapKind)),
            ("channels", self.channels, get_args(How)),
            ("sign", self.sign, get_args(Sign)),
            ("cmap", self.cmap, SEQUENTIAL + DIVERGING),
        ):
            if value not in allowed:
                raise InputError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        if not 0 < self.percentile <= 100:
            raise InputError(f"percentile must be above 0 and at most 100, got {self.percentile}")
        if not 0 <= self.alpha <= 1:
            raise InputError(f"alpha must lie in 0..1, got {self.alpha}")
        if self.kind != "color" and self.sign == "all" and not is_diverging(self.cmap):
            raise InputError(
                f"the colour map {self.cmap!r} has no colours for negative values; with sign 'all'"
                f" take one of {', '.join(DIVERGING)}"
            )

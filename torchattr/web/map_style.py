"""The style of a map as the page sends it, and the colour tables that the page draws with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from torchattr.core.arguments import check_choice
from torchattr.errors import InputError
from torchattr.show import (
    COLOR,
    DIVERGING,
    FADE,
    OVERLAY,
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
    table,
)

MapKind = Literal["overlay", "heat", "color"]


@dataclass(frozen=True)
class SingleSignColor(Style):
    """One sign of a map in the colours of its channels; zero is black."""

    sign: Sign
    percentile: float = COLOR.percentile
    cmap: str = "gray"
    meaning: str = "zero (black) to the largest value of each channel"

    def reduce(self, values: np.ndarray) -> np.ndarray:
        return COLOR.reduce(values)

    def paint(self, picture: np.ndarray, values: np.ndarray) -> np.ndarray:
        scaled = rescale(values, self.sign, self.percentile, shared=True)
        bright = np.broadcast_to(np.moveaxis(scaled, 0, -1), picture.shape)
        unknown = np.isnan(bright[..., 0])
        drawn = np.rint(np.nan_to_num(bright) * 255).astype(np.uint8)
        return np.where(unknown[..., None], faded(picture, unknown), drawn)


@dataclass(frozen=True)
class MapStyle:
    """The style of a map, as chosen on the page.

    Attributes:
        kind: overlay on the picture, heatmap only, or RGB.
        channels: see :func:`torchattr.show.reduce_channels`; RGB keeps the channels.
        sign: see :func:`torchattr.show.rescale`.
        percentile: clip percentile, see :func:`torchattr.show.rescale`.
        cmap: see :func:`torchattr.show.colormap`; unused for RGB.
        alpha: maximum opacity of the overlay.
        dim: how far the picture beneath the overlay loses its colours, see
            :func:`torchattr.show.overlay`.

    >>> MapStyle.of(COLOR).kind, MapStyle("color", sign="negative").style().sign
    ('color', 'negative')
    """

    kind: MapKind = "overlay"
    channels: How = "sum"
    sign: Sign = "positive"
    percentile: float = 100.0
    cmap: str = "viridis"
    alpha: float = OVERLAY.alpha
    dim: float = OVERLAY.dim

    @classmethod
    def of(cls, style: Style) -> MapStyle:
        """Return the closest style that the page can draw; a custom `Style` becomes a heatmap."""
        if isinstance(style, Overlay):
            own = (style.how, style.sign, style.percentile, style.cmap, style.alpha, style.dim)
            return cls("overlay", *own)
        if isinstance(style, Heat):
            return cls("heat", style.how, style.sign, style.percentile, style.cmap)
        if isinstance(style, Color):
            return cls("color", "max_abs", "all", style.percentile, "RdBu_r")
        return cls("heat", "max_abs", "absolute", style.percentile, "inferno")

    def style(self) -> Style:
        """Return the `torchattr.show` style that draws it.

        Raises:
            InputError: an unknown choice, a number out of range, or a colormap without colours for
                the sign.
        """
        self.check()
        if self.kind == "color":
            if self.sign == "all":
                return Color(self.percentile)
            return SingleSignColor(self.sign, self.percentile)
        if self.kind == "heat":
            return Heat(self.channels, self.sign, self.percentile, self.cmap)
        return Overlay(
            self.channels, self.sign, self.percentile, self.cmap, alpha=self.alpha, dim=self.dim
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def check(self) -> None:
        """Reject unknown choices, numbers out of range and colormaps without colours for the sign.

        Raises:
            InputError: the first of these.
        """
        for name, value, allowed in (
            ("kind", self.kind, get_args(MapKind)),
            ("channels", self.channels, get_args(How)),
            ("sign", self.sign, get_args(Sign)),
            ("cmap", self.cmap, SEQUENTIAL + DIVERGING),
        ):
            check_choice(name, value, allowed)
        if not 0 < self.percentile <= 100:
            raise InputError(f"percentile must be above 0 and at most 100, got {self.percentile}")
        for name, share in (("alpha", self.alpha), ("dim", self.dim)):
            if not 0 <= share <= 1:
                raise InputError(f"{name} must be within 0..1, got {share}")
        if self.kind != "color" and self.sign == "all" and not is_diverging(self.cmap):
            raise InputError(
                f"cmap {self.cmap!r} has no colours for negative values; for sign 'all' choose a"
                f" diverging one: {', '.join(DIVERGING)}"
            )


def color_tables() -> dict[str, Any]:
    """Return the 256 colours of each colormap in hexadecimal, and which ones are diverging.

    >>> color_tables()["tables"]["gray"][:6], len(color_tables()["tables"]["viridis"])
    ('000000', 1536)
    """
    names = (*SEQUENTIAL, *DIVERGING)
    return {
        "sequential": SEQUENTIAL,
        "diverging": DIVERGING,
        "tables": {name: table(name).tobytes().hex() for name in names},
        "fade": FADE,
    }

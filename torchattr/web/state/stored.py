"""Pictures and results that a session stores for display and download."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from torchattr.inspect import FeatureMaps
from torchattr.models import PreparedImage, place
from torchattr.show import Sign, colormap, rescale
from torchattr.web.map_style import MapStyle
from torchattr.web.state.buffers import buffers

T = TypeVar("T", bound="StoredItem")


class StoredItem:
    """An item that a session stores under an id."""

    name: str
    """Name of a downloaded file, without suffix."""

    @property
    def nbytes(self) -> int:
        """Memory that it keeps alive."""
        return sum(buffers(self).values())

    def renamed(self: T, name: str) -> T:
        """Return it under another name, with the same buffers."""
        other = copy(self)
        object.__setattr__(other, "name", name)  # Items are frozen dataclasses.
        return other

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Return the raw values for download; none by default."""
        return {}


@dataclass(frozen=True, eq=False)
class StoredPicture(StoredItem):
    """A picture, as read and as the model's input."""

    name: str
    prepared: PreparedImage

    def arrays(self) -> Mapping[str, np.ndarray]:
        return {"tensor": self.prepared.tensor.float().numpy()}


@dataclass(frozen=True, eq=False)
class StoredMap(StoredItem):
    """An attribution map `(C, h, w)` of the part of a picture that the model sees."""

    name: str
    values: np.ndarray
    style: MapStyle
    prepared: PreparedImage

    def arrays(self) -> Mapping[str, np.ndarray]:
        return {"map": self.values, "box": np.array(self.prepared.box)}

    def draw(self, map_style: MapStyle, side: int) -> Image.Image:
        """Draw the map on its picture, scaled down to `side` pixels on its longer side."""
        style, picture = map_style.style(), fitted(self.prepared.original, side)
        box = self.prepared.box.scaled(
            picture.width / self.prepared.original.width,
            picture.height / self.prepared.original.height,
        )
        placed = place(style.reduce(self.values), box, (picture.height, picture.width))
        return Image.fromarray(style.paint(np.asarray(picture), placed))


@dataclass(frozen=True, eq=False)
class StoredFeatureMaps(StoredItem):
    """The feature maps `(C, h, w)` of a layer."""

    name: str
    layer: str
    values: np.ndarray

    def arrays(self) -> Mapping[str, np.ndarray]:
        return {"maps": self.values}

    def grid(self, **options: Any) -> Image.Image:
        """Draw all maps in a grid; see :meth:`torchattr.inspect.FeatureMaps.picture`."""
        maps = FeatureMaps({self.layer: (torch.from_numpy(self.values)[None],)})
        return maps.picture(self.layer, **options)

    def draw(self, channel: int, side: int, shared: bool, cmap: str | None) -> Image.Image:
        """Draw one map, enlarged by an integer factor to at most `side` pixels."""
        sign: Sign = "all" if (self.values < 0).any() else "positive"
        values = self.values if shared else self.values[channel : channel + 1]
        scaled = rescale(values, sign, shared=True)[channel if shared else 0]
        drawn = colormap(scaled, cmap or ("RdBu_r" if sign == "all" else "viridis"))
        factor = max(1, math.floor(side / max(drawn.shape[:2])))
        return Image.fromarray(drawn.repeat(factor, axis=0).repeat(factor, axis=1))


@dataclass(frozen=True, eq=False)
class StoredImage(StoredItem):
    """A finished picture."""

    name: str
    image: Image.Image

    def arrays(self) -> Mapping[str, np.ndarray]:
        return {"picture": np.asarray(self.image)}


@dataclass(frozen=True)
class StoredFigure(StoredItem):
    """The source of an SVG."""

    name: str
    svg: str


def fitted(image: Image.Image, side: int) -> Image.Image:
    """Return a picture scaled down to `side` pixels on its longer side, if it is larger."""
    factor = side / max(image.size)
    if factor >= 1:
        return image
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.LANCZOS)


def as_png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=3)
    return file.getvalue()


def as_npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # the stubs confuse array names with options
    return file.getvalue()

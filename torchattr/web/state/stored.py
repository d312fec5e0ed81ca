"""What a session holds: pictures and results, which can be fetched and downloaded."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from torchattr.inspect import FeatureMaps
from torchattr.models import PreparedImage, place
from torchattr.show import Sign, colormap, rescale
from torchattr.web.map_style import MapStyle
from torchattr.web.state.buffers import buffers


class Item:
    """Something that a session holds under a number."""

    name: str
    """What a downloaded file is called, without its suffix."""

    @property
    def nbytes(self) -> int:
        """How much memory it keeps alive."""
        return sum(buffers(self).values())

    def arrays(self) -> Mapping[str, np.ndarray]:
        """Give the raw values to download; none by default."""
        return {}


@dataclass(frozen=True, eq=False)
class Shown(Item):
    """A picture that the model is asked about."""

    name: str
    prepared: PreparedImage

    def arrays(self) -> Mapping[str, np.ndarray]:
        return {"tensor": self.prepared.tensor.float().numpy()}


@dataclass(frozen=True, eq=False)
class StoredMap(Item):
    """A map `(C, h, w)` of what the model sees of a picture."""

    name: str
    values: np.ndarray
    look: MapStyle
    prepared: PreparedImage

    def arrays(self) -> Mapping[str, np.ndarray]:
        return {"map": self.values, "box": np.array(self.prepared.box)}

    def draw(self, look: MapStyle, side: int) -> Image.Image:
        """Draw it on the picture, whose longer side has at most so many pixels."""
        style, picture = look.style(), fitted(self.prepared.original, side)
        box = self.prepared.box.scaled(
            picture.width / self.prepared.original.width,
            picture.height / self.prepared.original.height,
        )
        placed = place(style.reduce(self.values), box, (picture.height, picture.width))
        return Image.fromarray(style.paint(np.asarray(picture), placed))


@dataclass(frozen=True, eq=False)
class StoredFeatureMaps(Item):
    """The maps `(C, h, w)` that a layer gave."""

    name: str
    layer: str
    values: np.ndarray

    def arrays(self) -> Mapping[str, np.ndarray]:
        return {"maps": self.values}

    def grid(self, **options: Any) -> Image.Image:
        """Draw all maps on a grid; see :meth:`torchattr.inspect.FeatureMaps.picture`."""
        maps = FeatureMaps({self.layer: (torch.from_numpy(self.values)[None],)})
        return maps.picture(self.layer, **options)

    def draw(self, channel: int, side: int, shared: bool, cmap: str | None) -> Image.Image:
        """Draw one map, enlarged by a whole factor to at most so many pixels."""
        sign: Sign = "all" if (self.values < 0).any() else "positive"
        values = self.values if shared else self.values[channel : channel + 1]
        scaled = rescale(values, sign, shared=True)[channel if shared else 0]
        drawn = colormap(scaled, cmap or ("RdBu_r" if sign == "all" else "viridis"))
        factor = max(1, math.floor(side / max(drawn.shape[:2])))
        return Image.fromarray(drawn.repeat(factor, axis=0).repeat(factor, axis=1))


@dataclass(frozen=True, eq=False)
class Drawn(Item):
    """A finished picture."""

    name: str
    image: Image.Image

    def arrays(self) -> Mapping[str, np.ndarray]:
        return {"picture": np.asarray(self.image)}


@dataclass(frozen=True)
class Vector(Item):
    """The text of an SVG."""

    name: str
    svg: str


def fitted(image: Image.Image, side: int) -> Image.Image:
    """Shrink a picture whose longer side has more pixels; others stay as they are."""
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
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # the stubs take the names for options
    return file.getvalue()

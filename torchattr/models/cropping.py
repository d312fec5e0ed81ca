"""Determine which rectangle of an image a transform keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image

from torchattr.core.warn import warn
from torchattr.errors import TorchattrWarning
from torchattr.models.geometry import Box

Transform = Callable[[Image.Image], torch.Tensor]


class GeometryWarning(TorchattrWarning):
    """The part of an image that a transform keeps could not be determined."""


class Geometry(ABC):
    """The rectangle of an image that its tensor shows, for an image of any size."""

    @abstractmethod
    def box(self, width: int, height: int) -> Box:
        """Return the rectangle in pixels of an image of this width and height."""


@dataclass(frozen=True)
class WholePicture(Geometry):
    """The tensor shows the whole image, stretched or not."""

    def box(self, width: int, height: int) -> Box:
        return Box(0.0, 0.0, float(width), float(height))


@dataclass(frozen=True)
class ResizeAndCrop(Geometry):
    """The short side is resized to ``resize`` pixels, then a square of ``crop`` pixels is cut."""

    resize: int
    crop: int

    def box(self, width: int, height: int) -> Box:
        short = min(width, height)
        # The long side is truncated to whole pixels, so the axes differ in scale.
        new_width = self.resize * width // short
        new_height = self.resize * height // short
        x0, y0 = _crop_start(new_width, self.crop), _crop_start(new_height, self.crop)
        resized = Box(x0, y0, x0 + self.crop, y0 + self.crop)
        return resized.scaled(width / new_width, height / new_height)


@dataclass(frozen=True)
class Measured(Geometry):
    """The rectangle is measured by sending coordinate ramps through the transform.

    The ramps have 256 levels, so edges are accurate to about 1/255 of the image's side. For a
    random or distorting transform the whole image is assumed, with a ``GeometryWarning``.
    """

    transform: Transform
    _known: dict[tuple[int, int], Box] = field(default_factory=dict, compare=False, repr=False)

    def box(self, width: int, height: int) -> Box:
        if (width, height) not in self._known:
            self._known[width, height] = self._measure(width, height)
        return self._known[width, height]

    def _measure(self, width: int, height: int) -> Box:
        x = _span(_ramp(self.transform, width, height, axis=1), axis=1)
        y = _span(_ramp(self.transform, width, height, axis=0), axis=0)
        if x is None or y is None:
            warn(
                f"the part of a {width}×{height} image that the transform keeps could not be "
                "measured (is it random, or does it distort or mirror the image?); maps are drawn "
                "over the whole image",
                GeometryWarning,
            )
            return WholePicture().box(width, height)
        return Box(x[0] * width, y[0] * height, x[1] * width, y[1] * height)


def geometry_of(transform: Transform) -> Geometry:
    """Return the geometry of a transform: exact for torchvision's presets, otherwise measured."""
    # torchvision takes as long to import as torch, and custom transforms do not need it.
    from torchvision.transforms._presets import ImageClassification, SemanticSegmentation

    if isinstance(transform, ImageClassification) and _is_short_side(transform):
        return ResizeAndCrop(transform.resize_size[0], transform.crop_size[0])
    if isinstance(transform, SemanticSegmentation):
        return WholePicture()
    return Measured(transform)


def _is_short_side(transform: Any) -> bool:
    return len(transform.resize_size) == len(transform.crop_size) == 1


def _crop_start(length: int, crop: int) -> int:
    if length < crop:
        return -((crop - length) // 2)
    return round((length - crop) / 2)


def _ramp(transform: Transform, width: int, height: int, axis: int) -> np.ndarray:
    """Return the coordinate along one axis, 0 to 1, at each pixel of the transform's result.

    Pixels that do not depend on the image (padding) are NaN. Images are grey, so transforms that
    mix or drop colours can be measured.
    """
    dark, light = (_send(transform, np.full((height, width), v, np.uint8)) for v in (0, 255))
    length = (height, width)[axis]
    line = (np.arange(length) + 0.5) / length
    shape = (-1, 1) if axis == 0 else (1, -1)
    sent = np.broadcast_to(np.rint(255 * line).reshape(shape), (height, width))
    contrast = light - dark
    seen = np.abs(contrast) > 0.99 * np.abs(contrast).max()
    ramp, again = _send(transform, sent), _send(transform, sent)
    # Pixels that differ between calls have no determinable coordinate.
    seen &= ramp == again
    return np.where(seen, (ramp - dark) / np.where(seen, contrast, 1.0), np.nan)


def _send(transform: Transform, grey: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    return transform(picture).detach().to("cpu", torch.float64).flatten(0, -3).mean(0).numpy()


def _span(ramp: np.ndarray, axis: int) -> tuple[float, float] | None:
    """Return the coordinates of the first and last edge; None if the transform is not a crop."""
    ramp = ramp if axis == 1 else ramp.T
    seen = ~np.isnan(ramp)
    used = np.flatnonzero(seen.any(0))
    if len(used) < 2:
        return None
    profile = np.nanmean(ramp[:, used], axis=0)
    slope, offset = np.polyfit(used + 0.5, profile, 1)
    bend = np.nanmax(np.abs(ramp[:, used] - (slope * (used + 0.5) + offset)))
    if slope <= 0 or bend > max(0.02, 2 * slope):
        return None
    return _snapped(offset, 0.0), _snapped(slope * ramp.shape[1] + offset, 1.0)


def _snapped(edge: float, border: float) -> float:
    """Return the image's border where the edge is within a grey level of it."""
    return border if abs(edge - border) < 1 / 255 else float(edge)

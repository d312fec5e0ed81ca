"""Regions of a picture as targets: masks and boxes in its pixels, and what a click means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from torchattr.core.box_targets import BoxTarget
from torchattr.core.detections import holds_detections, overlaps
from torchattr.core.output_target import OutputTarget
from torchattr.core.segmentation_targets import Mask, Segment
from torchattr.errors import InputError, TargetError
from torchattr.models import PreparedImage, read_image

ROUGH = 0.3
"""The IoU that a box drawn by hand must have with a detection."""


@dataclass(frozen=True, eq=False)
class Region:
    """A point or a box of a picture, in its pixels, and what a model says there.

    Args:
        corners: x and y of a point, or x1, y1, x2, y2 of a box.
        prepared: the picture.
        raw: the model's output for it: detections `(1, D, 6)` or a segmentation `(1, K, h, w)`.

    Raises:
        InputError: neither a point nor a box with x1 < x2 and y1 < y2.
    """

    corners: Sequence[float]
    prepared: PreparedImage
    raw: Tensor

    def __post_init__(self) -> None:
        low, high = self.corners[:2], self.corners[2:]
        is_box = len(self.corners) == 4 and low[0] < high[0] and low[1] < high[1]
        if len(self.corners) != 2 and not is_box:
            raise InputError(
                "region must be a point x, y or a box x1, y1, x2, y2 with x1 < x2 and y1 < y2, got"
                f" {list(self.corners)}"
            )

    def target(self, category: int) -> tuple[OutputTarget, int]:
        """Return what the region stands for, and its class.

        A point in a segmentation is the predicted segment there, a box the positions in it, for the
        chosen class. In detections, a point is the smallest box around it, a box the detection
        that it overlaps most.

        Args:
            category: the chosen class, for a box in a segmentation.

        Raises:
            TargetError: there is no such segment or detection, or the model has neither.
        """
        if holds_detections(self.raw):
            found = self._detection()
            return BoxTarget(int(found[5]), found[:4], overlap=False), int(found[5])
        if self.raw.dim() != 4:
            raise TargetError(
                "a region is for models that return detections or a segmentation, but this one"
                f" returns {tuple(self.raw.shape)}; choose a class"
            )
        if len(self.corners) == 4:
            mask = mask_of_box(self.corners, self.prepared, self._sizes)
            return Mask(category, mask), category
        here = self._class_here()
        return Segment(here), here

    @property
    def _sizes(self) -> tuple[int, int]:
        return int(self.raw.shape[-2]), int(self.raw.shape[-1])

    def _detection(self) -> Tensor:
        rows = self.raw[0].detach().cpu()
        if len(self.corners) == 4:
            box = torch.tensor(box_in_input(self.corners, self.prepared))
            shares = overlaps(box[None, None].to(rows.dtype), rows[None, :, :4])[0, 0]
            if not len(rows) or float(shares.max()) <= ROUGH:
                raise TargetError(
                    "no detection overlaps this box by more than"
                    f" {ROUGH}; draw around one of the detected boxes"
                )
            return rows[int(shares.argmax())]
        around = rows[_contain(rows[:, :4], point_in_input(self.corners, self.prepared))]
        if not len(around):
            raise TargetError("no detected box contains this point; click into one of them")
        return around[int((around[:, 2:4] - around[:, :2]).prod(1).argmin())]

    def _class_here(self) -> int:
        x, y = point_in_input(self.corners, self.prepared)
        _, height, width = self.prepared.tensor.shape
        if not (0 <= x < width and 0 <= y < height):
            raise TargetError("the model does not see this point; click into the part that it sees")
        rows, columns = self._sizes
        row, column = int(y * rows / height), int(x * columns / width)
        scores = self.raw[0, :, row, column]
        if len(scores) == 1 and not float(scores[0]) > 0:
            raise TargetError("the model predicts nothing at this point; click into its segment")
        return int(scores.argmax())


def box_in_input(corners: Sequence[float], prepared: PreparedImage) -> tuple[float, ...]:
    """Return a box of a picture, in its pixels, in the pixels of the model's input."""
    low = point_in_input(corners[:2], prepared)
    return (*low, *point_in_input(corners[2:], prepared))


def point_in_input(point: Sequence[float], prepared: PreparedImage) -> tuple[float, float]:
    """Return a point of a picture, in its pixels, in the pixels of the model's input."""
    box, (_, height, width) = prepared.box, prepared.tensor.shape
    x = (point[0] - box.x0) * width / (box.x1 - box.x0)
    return x, (point[1] - box.y0) * height / (box.y1 - box.y0)


def box_in_picture(corners: Sequence[float], prepared: PreparedImage) -> tuple[float, ...]:
    """Return a box of the model's input, in its pixels, in the pixels of the picture."""
    box, (_, height, width) = prepared.box, prepared.tensor.shape
    x, y = (box.x1 - box.x0) / width, (box.y1 - box.y0) / height
    x1, y1, x2, y2 = corners
    return (box.x0 + x1 * x, box.y0 + y1 * y, box.x0 + x2 * x, box.y0 + y2 * y)


def mask_of_box(
    corners: Sequence[float], prepared: PreparedImage, sizes: tuple[int, int]
) -> Tensor:
    """Return which positions of an output have their centre in a box of the picture.

    Raises:
        TargetError: none has.
    """
    x1, y1, x2, y2 = box_in_input(corners, prepared)
    _, height, width = prepared.tensor.shape
    y = (torch.arange(sizes[0]) + 0.5) * height / sizes[0]
    x = (torch.arange(sizes[1]) + 0.5) * width / sizes[1]
    inside = ((y >= y1) & (y <= y2))[:, None] & ((x >= x1) & (x <= x2))
    if not bool(inside.any()):
        raise TargetError("this box contains no position of the model's output; draw a larger one")
    return inside


def mask_of_file(path: Path, prepared: PreparedImage, sizes: tuple[int, int]) -> Tensor:
    """Return which positions of an output have their centre where a picture of a mask is not black.

    Args:
        path: the file of the mask, as large as the picture.
        prepared: the picture.
        sizes: height and width of the output.

    Raises:
        ImageError: the file cannot be read.
        InputError: it has another size than the picture, or is black where the model looks.
    """
    drawn = np.asarray(read_image(path).convert("L")) > 0
    width, height = prepared.original.size
    if drawn.shape != (height, width):
        raise InputError(
            f"the mask {path.name} has {drawn.shape[1]}×{drawn.shape[0]} pixels, but the picture"
            f" {width}×{height}; both must have the same size"
        )
    box = prepared.box
    rows = _sampled(box.y0, box.y1, sizes[0], height)
    columns = _sampled(box.x0, box.x1, sizes[1], width)
    padded = np.pad(drawn, ((0, 1), (0, 1)))  # What lies outside of the picture is not masked.
    mask = torch.from_numpy(padded[np.ix_(rows, columns)])
    if not bool(mask.any()):
        raise InputError(
            f"the mask {path.name} is empty: it is black wherever the model sees the picture"
        )
    return mask


def _sampled(start: float, stop: float, cells: int, size: int) -> np.ndarray:
    """Return the pixel at the centre of each cell; `size` where there is none."""
    pixels = np.floor(start + (np.arange(cells) + 0.5) * (stop - start) / cells).astype(int)
    return np.where((pixels >= 0) & (pixels < size), pixels, size)


def _contain(boxes: Tensor, point: Sequence[float]) -> Tensor:
    x, y = point
    inside = (boxes[:, 0] <= x) & (x <= boxes[:, 2])
    return inside & (boxes[:, 1] <= y) & (y <= boxes[:, 3])

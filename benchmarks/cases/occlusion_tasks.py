"""Occlusion tasks: an image whose windows or superpixels are set to zero one after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import captum.attr
import numpy as np
import torch
from torch import Tensor

import torchattr as ta
from benchmarks.peers.captum import ROWS_AT_ONCE
from torchattr.kernels.patches import Boxes
from torchattr.methods._perturbation.features import boxes_of

MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class OcclusionTask(ABC):
    """An image, and the positions of it that are set to zero one after another.

    Attributes:
        picture: `(1, 3, side, side)`.
    """

    picture: Tensor

    @property
    @abstractmethod
    def name(self) -> str:
        """The task, for the tables and targets."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of positions."""

    @abstractmethod
    def mask(self, place: int) -> Tensor:
        """Return the pixels of a position as a mask: `(side, side)`."""

    @abstractmethod
    def ours(self, forward: Any, target: Any, incremental: Any) -> str:
        """Run torchattr, and return its report of what was recomputed."""

    @abstractmethod
    def captums(self, forward: Any, target: int) -> None:
        """Run Captum."""

    @property
    def captums_order(self) -> Sequence[int]:
        """The positions in Captum's order; torchattr's order is that of their numbers."""
        return range(len(self))

    def without(self, place: int) -> Tensor:
        """Return the image with a position set to zero."""
        return self.picture.masked_fill(self.mask(place), 0)

    def boxes(self) -> Boxes:
        """Return the bounding box of each position."""
        masks = (self.mask(place)[None, None, None] for place in range(len(self)))
        found = [boxes_of(mask, self.picture.shape, 1) for mask in masks]
        table = np.concatenate([box.table for box in found if box is not None])
        return Boxes.of(*table.T[:-1])


@dataclass(frozen=True)
class Windows(OcclusionTask):
    """A square window that moves by `stride` pixels until the whole image is covered."""

    picture: Tensor
    size: int
    stride: int

    @property
    def name(self) -> str:
        return f"{self.size}/{self.stride}"

    @property
    def along(self) -> int:
        """Number of windows in one row."""
        return -((self.size - self.picture.shape[-1]) // self.stride) + 1

    def __len__(self) -> int:
        return self.along**2

    def mask(self, place: int) -> Tensor:
        top, left = (number * self.stride for number in divmod(place, self.along))
        mask = torch.zeros(self.picture.shape[2:], dtype=torch.bool, device=self.picture.device)
        mask[top : top + self.size, left : left + self.size] = True
        return mask

    def ours(self, forward: Any, target: Any, incremental: Any) -> str:
        reports: list[Any] = []
        ta.Occlusion(forward).attribute(
            self.picture,
            **self._asked,
            target=target,
            incremental=incremental,
            report=reports.append,
        )
        return str(reports[0])

    def captums(self, forward: Any, target: int) -> None:
        captum.attr.Occlusion(forward).attribute(
            self.picture, **self._asked, target=target, perturbations_per_eval=ROWS_AT_ONCE
        )

    @property
    def captums_order(self) -> Sequence[int]:
        """Captum's windows go down the columns."""
        numbers = range(self.along)
        return [row * self.along + column for column in numbers for row in numbers]

    @property
    def _asked(self) -> dict[str, Any]:
        shape, strides = (3, self.size, self.size), (3, self.stride, self.stride)
        return {"sliding_window_shapes": shape, "strides": strides}


@dataclass(frozen=True)
class Superpixels(OcclusionTask):
    """Superpixels by SLIC, numbered from 0."""

    picture: Tensor
    asked: int
    labels: Tensor

    @property
    def name(self) -> str:
        return f"{self.asked} superpixels"

    def __len__(self) -> int:
        return int(self.labels.max()) + 1

    def mask(self, place: int) -> Tensor:
        return self.labels == place

    def ours(self, forward: Any, target: Any, incremental: Any) -> str:
        reports: list[Any] = []
        ta.FeatureAblation(forward).attribute(
            self.picture,
            target=target,
            feature_mask=self.labels,
            incremental=incremental,
            report=reports.append,
        )
        return str(reports[0])

    def captums(self, forward: Any, target: int) -> None:
        captum.attr.FeatureAblation(forward).attribute(
            self.picture,
            target=target,
            feature_mask=self.labels[None, None],
            perturbations_per_eval=ROWS_AT_ONCE,
        )


def occlusion_task(asked: str, side: int, device: torch.device) -> OcclusionTask:
    """Read `16/8`, a window and its stride, or `100 superpixels`, of a real image."""
    pixels = photo(side)
    picture = ((torch.from_numpy(pixels) - torch.tensor(MEAN)) / torch.tensor(SPREAD)).float()
    picture = picture.permute(2, 0, 1)[None].contiguous().to(device)
    if "/" in asked:
        size, stride = map(int, asked.split("/"))
        return Windows(picture, size, stride)
    count = int(asked.split()[0])
    return Superpixels(picture, count, torch.from_numpy(superpixels(pixels, count)).to(device))


def superpixels(pixels: Any, count: int) -> Any:
    """Return about `count` superpixels: SLIC merges small ones, so more are requested."""
    from skimage.segmentation import slic

    tried = (slic(pixels, n_segments=asked, start_label=0) for asked in range(count, 2 * count))
    return min(tried, key=lambda labels: abs(int(labels.max()) + 1 - count))


def photo(side: int) -> Any:
    """Return scikit-image's portrait of Eileen Collins, `(side, side, 3)`, values from 0 to 1."""
    from skimage.data import astronaut
    from skimage.transform import resize

    return resize(astronaut(), (side, side), anti_aliasing=True)

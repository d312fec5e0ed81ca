"""Boxes, patches and whole images for the tests of operations on patches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from torchattr.kernels.patches import (
    BOTTOM,
    IMAGE,
    LEFT,
    RIGHT,
    TOP,
    Boxes,
    Patches,
)


def some_boxes(random: np.random.Generator, image: np.ndarray, size: tuple[int, int]) -> Boxes:
    """Return boxes of any position and size, some empty, some that cover all."""
    variants = len(image)
    sides = [np.sort(random.integers(0, side + 1, (2, variants)), axis=0) for side in size]
    whole = random.random(variants) < 0.2
    low = [np.where(whole, 0, side[0]) for side in sides]
    high = [np.where(whole, end, side[1]) for side, end in zip(sides, size, strict=True)]
    return Boxes.of(image, *low, *high)


def cast(x: Patches, dtype: torch.dtype) -> Patches:
    return Patches(x.clean.to(dtype), x.changed.to(dtype), x.boxes)


def dense(x: Patches) -> Tensor:
    """Assemble each variant's whole image, `(variants, C, H, W)`."""
    images = x.clean[x.boxes.table[:, IMAGE]].clone()
    for image, row, area in zip(images, x.boxes.table, x.boxes.areas, strict=True):
        box = image[row[TOP] : row[BOTTOM], row[LEFT] : row[RIGHT]]
        box[:] = x.changed[row[-1] : row[-1] + area].view(box.shape)
    return images.permute(0, 3, 1, 2)


def rows(images: Tensor, boxes: Boxes) -> Tensor:
    """Cut boxes out of images."""
    pieces = [
        image[:, row[TOP] : row[BOTTOM], row[LEFT] : row[RIGHT]].flatten(1).T
        for image, row in zip(images, boxes.table, strict=True)
    ]
    return torch.cat(pieces)


def images(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, count, 1 + seed % 5)

"""Variants that follow one another: each is compared with the one before it, not with the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchattr.kernels import (
    IMAGE,
    Boxes,
    Convolution,
    Epilogue,
    Patches,
    PatchOperations,
    Pooling,
)

Ints = NDArray[np.int64]


class Following(PatchOperations):
    """Operations on the patches of variants, each of which continues the one before it.

    Outside its own box a variant is what the last variant before it, of the same image, left there.
    These surroundings are looked up first, so that the backend computes each variant by itself.

    Args:
        backend: what computes.
    """

    name: ClassVar[str] = "following"

    def __init__(self, backend: PatchOperations) -> None:
        self._backend = backend

    def gather(self, x: Patches, boxes: Boxes) -> Tensor:
        if boxes == x.boxes:
            return x.changed
        height, width = x.clean.shape[1:3]
        sources = _sources(x.boxes, boxes, (len(x.clean), height, width))
        device = x.clean.device
        clean = torch.from_numpy(np.maximum(-1 - sources, 0)).to(device, non_blocking=True)
        rows = x.clean.reshape(-1, x.clean.shape[3]).index_select(0, clean)
        changed = np.flatnonzero(sources >= 0)
        places = torch.from_numpy(changed).to(device, non_blocking=True)
        taken = torch.from_numpy(sources[changed]).to(device, non_blocking=True)
        return rows.index_copy_(0, places, x.changed.index_select(0, taken))

    def convolve(self, x: Patches, boxes: Boxes, conv: Convolution, epilogue: Epilogue) -> Tensor:
        if epilogue.residual is not None:
            epilogue = replace(epilogue, residual=self._seen(epilogue.residual, boxes))
        return self._backend.convolve(self._read(x, boxes, conv), boxes, conv, epilogue)

    def pool(self, x: Patches, boxes: Boxes, pooling: Pooling) -> Tensor:
        return self._backend.pool(self._read(x, boxes, pooling), boxes, pooling)

    def _read(self, x: Patches, boxes: Boxes, window: Convolution | Pooling) -> Patches:
        return self._seen(x, read_by(boxes, window, x.clean.shape[1:3]))

    def _seen(self, x: Patches, boxes: Boxes) -> Patches:
        return Patches(x.clean, self.gather(x, boxes), boxes)


def read_by(boxes: Boxes, window: Convolution | Pooling, size: Sequence[int]) -> Boxes:
    """Return the boxes of inputs that a sliding window reads for boxes of outputs.

    Args:
        boxes: those of the outputs.
        window: what slides.
        size: height and width of the input, to which they are clipped.
    """
    image, *sides, _ = boxes.table.T
    low, high = np.stack(sides[:2], 1), np.stack(sides[2:], 1)
    before, span = np.asarray(window.padding), np.asarray(window.extent) - 1
    first = low * window.stride - before
    last = (high - 1) * window.stride - before + span * window.dilation + 1
    clipped = np.clip(np.concatenate([first, last], 1), 0, (*size, *size))
    clipped[boxes.areas == 0] = 0
    return Boxes.of(image, *clipped.T)


def latest(places: Ints, size: int) -> Ints:
    """Return the positions of the last of all equal places, in order.

    Args:
        places: numbers from 0 to `size - 1`, of which some may be equal.
        size: their range.

    >>> latest(np.array([3, 1, 3]), 4).tolist()
    [1, 2]
    """
    numbers = np.arange(len(places))
    last = np.empty(size, dtype=np.int64)
    last[places] = numbers
    found: Ints = np.flatnonzero(last[places] == numbers)
    return found


def _sources(boxes: Boxes, read: Boxes, shape: Sequence[int]) -> Ints:
    """Return where each variant's pixels of `read` are: a row, or `-1 - pixel` of the clean images.

    The variants are drawn over the images one after another, and each reads what is drawn then.
    """
    drawn = (-1 - np.arange(np.prod(shape))).reshape(shape)
    found = [np.empty(0, dtype=np.int64)]
    for (image, top, left, bottom, right, start), wanted in zip(
        boxes.table, read.table, strict=True
    ):
        high, wide = bottom - top, right - left
        own = np.arange(start, start + high * wide).reshape(high, wide)
        drawn[image, top:bottom, left:right] = own
        found.append(_within(drawn[wanted[IMAGE]], wanted))
    return np.concatenate(found)


def _within(drawn: Ints, box: NDArray[Any]) -> Ints:
    _, top, left, bottom, right, _ = box
    return drawn[top:bottom, left:right].flatten()  # A copy: more is drawn over it.

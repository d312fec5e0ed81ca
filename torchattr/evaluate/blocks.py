"""Features of pictures: the blocks of a grid, and superpixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchattr.core.arguments import plain_numbers
from torchattr.errors import InputError, InputTypeError, PackageError, ShapeError
from torchattr.methods import checked_count


def blocks(pictures: Tensor, size: int | tuple[int, int] = 16) -> Tensor:
    """Return a feature mask of the blocks of a grid, `(1, 1, h, w)`, numbered row by row.

    For the `feature_mask` of metrics and methods. The last blocks of a row or column are cut off
    where the picture ends. It is *not* made for objects: their borders run through blocks.

    Args:
        pictures: `(N, C, h, w)`, for their size and device.
        size: the side of a block in pixels, or its height and width.

    Raises:
        InputTypeError, ShapeError: no pictures.
        InputError: a side below 1.

    >>> import torch
    >>> blocks(torch.zeros(1, 3, 2, 3), 2)[0, 0].tolist()
    [[0, 0, 1], [0, 0, 1]]
    """
    size = plain_numbers(size)
    sides = size if isinstance(size, tuple) else (size, size)
    if not all(isinstance(side, int) and side >= 1 for side in sides) or len(sides) != 2:
        raise InputError(f"size must be a number of pixels of at least 1, or two, got {size!r}")
    height, width = as_pictures(pictures, "pictures").shape[2:]
    rows, columns = (
        torch.arange(extent, device=pictures.device) // side
        for extent, side in zip((height, width), sides, strict=True)
    )
    along = -(-width // sides[1])
    return (rows[:, None] * along + columns)[None, None]


def superpixels(pictures: Tensor, count: int = 100) -> Tensor:
    """Return a feature mask of superpixels, `(N, 1, h, w)`, by SLIC.

    Achanta et al. 2012, doi:10.1109/TPAMI.2012.120, as scikit-image has it (extra `superpixels`),
    of each picture scaled to the range from 0 to 1. There may be fewer than asked for.

    Args:
        pictures: `(N, C, h, w)`.
        count: about how many for each picture.

    Raises:
        InputTypeError, ShapeError: no pictures.
        InputError: a count below 1, or pictures that are not finite.
        PackageError: scikit-image is not installed.

    >>> import torch
    >>> superpixels(torch.rand(2, 3, 16, 16), 4).shape
    torch.Size([2, 1, 16, 16])
    """
    checked_count(count, "count")
    given = as_pictures(pictures, "pictures").detach().double().cpu()
    if not torch.isfinite(given).all():
        raise InputError("pictures hold NaN or infinite values, which have no superpixels")
    try:
        from skimage.segmentation import slic
    except ImportError as error:
        raise PackageError(
            "superpixels needs scikit-image; install it with pip install 'torchattr[superpixels]',"
            " or pass a mask of your own, such as torchattr.evaluate.blocks(pictures)"
        ) from error
    found = [slic(_scaled(one), n_segments=count, start_label=0) for one in given]
    return torch.from_numpy(np.stack(found)).long()[:, None].to(pictures.device)


def as_pictures(value: Any, name: str) -> Tensor:
    """Return pictures `(N, C, h, w)`.

    Raises:
        InputTypeError: no tensor.
        ShapeError: another shape, or nothing.
    """
    if not isinstance(value, Tensor):
        raise InputTypeError(f"{name} must be a tensor of pictures, got {type(value).__name__}")
    if value.dim() != 4 or not value.numel():
        raise ShapeError(
            f"{name} must be pictures (N, C, h, w) of at least one value, got"
            f" the shape {tuple(value.shape)}"
        )
    return value


def _scaled(picture: Tensor) -> np.ndarray[Any, Any]:
    """Return a picture `(h, w, C)` from 0 to 1; a constant one is 0."""
    low, high = picture.min(), picture.max()
    scaled = (picture - low) / (high - low).clamp(min=torch.finfo(picture.dtype).tiny)
    return scaled.permute(1, 2, 0).numpy()

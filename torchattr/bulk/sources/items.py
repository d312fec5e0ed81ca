"""Items of map-style data sets: their image, and their label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from torchattr.bulk.sources.pictures import Picture
from torchattr.errors import InputTypeError
from torchattr.models import as_rgb, reading

IMAGES = ("image", "img", "pixel_values")
LABELS = ("label", "target", "labels")


def image_of(item: Any) -> Any:
    """Return the image of an item: the item itself, the first of a tuple, or an entry of a dict.

    >>> image_of(("pixels", 3)), image_of({"label": 3, "image": "pixels"})
    ('pixels', 'pixels')
    """
    return _entry(item, IMAGES) if isinstance(item, Mapping) else _first(item)


def label_of(item: Any) -> int | str | None:
    """Return the label of an item; `None` if it has none, or one that is no number and no name.

    >>> label_of(("pixels", torch.tensor(3))), label_of({"image": "pixels"}), label_of(["pixels"])
    (3, None, None)
    """
    if isinstance(item, Mapping):
        found = _entry(item, LABELS)
    else:
        found = item[1] if isinstance(item, (tuple, list)) and len(item) > 1 else None
    number = plain_label(found)
    return number if isinstance(number, (int, str)) else None


def plain_label(label: Any) -> Any:
    """Return a label without the tensor or array around it."""
    return label.item() if getattr(label, "ndim", None) == 0 else label


@singledispatch
def as_picture(image: Any, name: str) -> Picture:
    """Return an image as a source reads it: RGB, or a model's input `(C, H, W)`.

    name: of the picture, for errors.

    Raises:
        InputTypeError: it is neither a PIL image, nor a tensor or array of pixels.
        ImageError: it is a PIL image whose file is damaged.
    """
    raise _not_an_image(image, name, type(image).__name__)


@as_picture.register
def _(image: Image.Image, name: str) -> Picture:
    with reading(name):
        return as_rgb(image, name)


@as_picture.register
def _(image: Tensor, name: str) -> Picture:
    if image.dim() == 3 and image.is_floating_point():
        return image
    if image.dim() == 3 and image.dtype == torch.uint8:
        return as_picture(image.permute(1, 2, 0).numpy(), name)
    raise _not_an_image(image, name, f"a tensor {tuple(image.shape)} of {image.dtype}")


@as_picture.register
def _(image: np.ndarray, name: str) -> Picture:
    values = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    is_colour = values.ndim == 3 and values.shape[2] in (3, 4)
    if values.dtype != np.uint8 or not (is_colour or values.ndim == 2):
        raise _not_an_image(image, name, f"an array {image.shape} of {image.dtype}")
    return as_rgb(Image.fromarray(np.ascontiguousarray(values)), name)


def _not_an_image(image: Any, name: str, found: str) -> InputTypeError:
    return InputTypeError(
        f"{name}: an image of data must be a PIL image, a floating-point or uint8 tensor (C, H, W),"
        f" or a uint8 array (H, W, C), got {found}"
    )


def _entry(item: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((item[key] for key in keys if key in item), None)


def _first(item: Any) -> Any:
    return item[0] if isinstance(item, (tuple, list)) and item else item

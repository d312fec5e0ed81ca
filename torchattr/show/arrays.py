"""Convert tensors, arrays and PIL images to NumPy arrays."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image

from torchattr.errors import InputError, InputTypeError, ShapeError

ArrayLike: TypeAlias = torch.Tensor | np.ndarray | Image.Image
"""What every function of ``torchattr.show`` accepts."""


def as_array(values: Any, name: str = "values") -> np.ndarray:
    """Return a tensor, picture or nested list as a NumPy array; bfloat16 becomes float32."""
    if isinstance(values, torch.Tensor):
        values = values.detach().to("cpu")
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputTypeError(
            f"{name} must hold real numbers in rows of one length, got {type(values).__name__}"
        ) from error
    if array.dtype.kind not in "buif":
        raise InputTypeError(
            f"{name} must hold real numbers, got {type(values).__name__} of type {array.dtype}"
        )
    return array


def as_floats(values: Any, name: str = "values") -> np.ndarray:
    """Return values as a floating-point array: float64 stays, everything else becomes float32.

    NaN marks unknown pixels and is kept; infinite values raise.
    """
    array = as_array(values, name)
    if array.dtype.itemsize < 8 or array.dtype.kind != "f":
        array = array.astype(np.float32)
    if np.isinf(array).any():
        raise InputError(f"{name} holds infinite values, which cannot be drawn")
    return array


def as_map(values: Any, name: str = "values") -> np.ndarray:
    """Return one map ``(H, W)``; leading axes of length one are dropped."""
    array = as_floats(values, name)
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or 0 in array.shape:
        raise ShapeError(f"{name} must be one map (H, W), got the shape {array.shape}")
    return array


def as_picture(image: Any, name: str = "image") -> np.ndarray:
    """Return one picture as uint8 RGB ``(H, W, 3)``.

    Accepts a PIL image, ``(H, W)``, ``(H, W, 1 or 3)`` or ``(1 or 3, H, W)``; integers are 0..255,
    floats 0..1. Floats outside that range raise: they are normalised, not displayable.
    """
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    array = as_array(image, name)
    array = array[0] if array.ndim == 4 and len(array) == 1 else array
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3 or 0 in array.shape or not {array.shape[0], array.shape[-1]} & {1, 3}:
        raise ShapeError(
            f"{name} must be a picture (H, W), (H, W, 3) or (3, H, W), got the shape {array.shape}"
        )
    if array.shape[-1] not in (1, 3) or (array.shape[0] in (1, 3) and _is_torch(image)):
        array = np.moveaxis(array, 0, -1)
    return np.broadcast_to(to_bytes(array, name), (*array.shape[:2], 3)).copy()


def to_bytes(array: np.ndarray, name: str = "image") -> np.ndarray:
    """Return pixel values as uint8: integers must lie in 0..255, floats in 0..1."""
    top = 1.0 if array.dtype.kind == "f" else 255
    if array.dtype == np.uint8 or array.size == 0:
        return array.astype(np.uint8)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * 255
    low, high = float(array.min()), float(array.max())
    if not (low >= -1e-6 and high <= top * (1 + 1e-6)):
        raise InputError(
            f"{name} must lie in 0..{top:g} for {array.dtype}, got {low:g} to {high:g}; "
            "bring it there with rescale, image_normalization or deprocess_image"
        )
    return np.clip(np.rint(array * (255 / top)), 0, 255).astype(np.uint8)


def _is_torch(image: Any) -> bool:
    return isinstance(image, torch.Tensor)

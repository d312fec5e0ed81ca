"""Baselines of deleted features: a number, a tensor, or the blurred image."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from torchattr.core.inputs import Inputs, as_baselines
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.methods import Baseline

# As in the paper: a Gaussian of 5 pixels, truncated to 11.
BLUR_SIGMA = 5.0
BLUR_KERNEL = 11


def as_replaced(baselines: Any, inputs: Inputs) -> tuple[Baseline, ...]:
    """Return one baseline per input, from one for all of them or one for each.

    Raises:
        InputError: an unknown string.
        InputTypeError: integer inputs cannot be blurred.
        ShapeError: the inputs to blur are not images, or too small.
    """
    if isinstance(baselines, (str, int, float)):
        baselines = (baselines,) * len(inputs.tensors)
    if isinstance(baselines, (tuple, list)) and len(baselines) == len(inputs.tensors):
        pairs = zip(baselines, inputs.tensors, strict=True)
        baselines = tuple(_resolved(value, tensor) for value, tensor in pairs)
    return as_baselines(baselines, inputs)


def _resolved(value: Any, tensor: Tensor) -> Any:
    if not isinstance(value, str):
        return value
    if value != "blur":
        raise InputError(f"baselines must be numbers, tensors or 'blur', got {value!r}")
    return blurred(tensor)


def blurred(pictures: Tensor) -> Tensor:
    """Blur pictures `(N, C, h, w)` as in Petsiuk, Das and Saenko 2018, arXiv:1806.07421."""
    _check_picture(pictures)
    from torchvision.transforms.functional import gaussian_blur

    smooth: Tensor = gaussian_blur(pictures.detach(), [BLUR_KERNEL] * 2, [BLUR_SIGMA] * 2)
    return smooth


def _check_picture(pictures: Tensor) -> None:
    if not pictures.is_floating_point():
        raise InputTypeError(
            f"baselines='blur' needs floating pictures, got {pictures.dtype}; pass a number or a"
            " tensor"
        )
    least = BLUR_KERNEL // 2 + 1
    if pictures.dim() != 4 or min(pictures.shape[2:]) < least:
        raise ShapeError(
            f"baselines='blur' needs pictures (N, C, h, w) of at least {least} pixels a side, got"
            f" the shape {tuple(pictures.shape)}; pass a number or a tensor"
        )

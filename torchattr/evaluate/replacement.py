"""Baselines of replaced features: a number, a tensor, or what is made from the picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from torchattr.core.arguments import plain_numbers
from torchattr.core.inputs import Inputs, all_finite, as_baselines, as_inputs
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.methods import Baseline, SeededStreams, checked_seed

Made = Literal["blur", "mean", "uniform"]
"""What a baseline can be made to from the picture itself."""

# As in the paper: a Gaussian of 5 pixels, truncated to 11.
BLUR_SIGMA = 5.0
BLUR_KERNEL = 11


def as_replaced(baselines: Any, inputs: Inputs) -> tuple[Baseline, ...]:
    """Return one baseline per input, from one for all of them or one for each.

    Raises:
        InputError: an unknown string.
        InputTypeError: integer inputs cannot be blurred, averaged or replaced by noise.
        ShapeError: the inputs to blur are not images, or too small.
    """
    baselines = plain_numbers(baselines)
    if isinstance(baselines, (str, int, float)):
        baselines = (baselines,) * len(inputs.tensors)
    if isinstance(baselines, (tuple, list)) and len(baselines) == len(inputs.tensors):
        pairs = zip(baselines, inputs.tensors, strict=True)
        baselines = tuple(_resolved(value, tensor) for value, tensor in pairs)
    return as_baselines(baselines, inputs)


def uniform_noise(inputs: Tensor, seed: int = 0) -> Tensor:
    """Return noise to replace features with, uniform within the range of each channel.

    A baseline for :func:`torchattr.evaluate.region_perturbation` and all others that replace
    features. The numbers are the same for each example; the range is that of the example's own
    channel, or of all elements of rows `(N, C)`.

    Args:
        inputs: the batch, `(N, ...)`.
        seed: of the noise, 0 or more.

    Raises:
        InputTypeError: inputs that are no floating tensor, or a seed that is no int.
        InputError: a negative seed, or inputs that are not finite or hold no element.

    >>> import torch
    >>> noise = uniform_noise(torch.tensor([[0.0, 10.0, 5.0], [1.0, 1.0, 1.0]]))
    >>> bool((noise[0] >= 0).all() and (noise[0] <= 10).all()), noise[1].tolist()
    (True, [1.0, 1.0, 1.0])
    """
    given = _floating(inputs, "uniform")
    if not given.is_meta and not all_finite(given):
        raise InputError(
            "inputs holds NaN or infinite values, so its channels have no range to draw noise from;"
            " repair or drop these samples"
        )
    as_inputs(given, differentiable=False)
    return _noise(given, SeededStreams([checked_seed(seed)]), 0, 0)


class UniformNoise:
    """Samples of :func:`uniform_noise` for each of several inputs.

    Args:
        inputs: the batch.
        seed: of the noise.

    Raises:
        InputTypeError, InputError: as for that function.
    """

    def __init__(self, inputs: Inputs, seed: int) -> None:
        self._streams = SeededStreams([checked_seed(seed)])
        self._tensors = [_floating(tensor, "uniform") for tensor in inputs.tensors]

    def sample(self, number: int) -> tuple[Tensor, ...]:
        """Return one sample for each input."""
        pairs = enumerate(self._tensors)
        return tuple(_noise(tensor, self._streams, stream, number) for stream, tensor in pairs)


def _noise(tensor: Tensor, streams: SeededStreams, stream: int, number: int) -> Tensor:
    drawn = streams.uniform(stream, number, number + 1, tensor.shape[1:].numel())
    share = torch.from_numpy(drawn).to(tensor).reshape(1, *tensor.shape[1:])
    low, high = (
        extreme(_of_channel(tensor), keepdim=True) for extreme in (tensor.amin, tensor.amax)
    )
    return low + (high - low) * share


def blurred(pictures: Tensor) -> Tensor:
    """Blur pictures `(N, C, h, w)` as in Petsiuk, Das and Saenko 2018, arXiv:1806.07421."""
    _check_picture(pictures)
    from torchvision.transforms.functional import gaussian_blur

    smooth: Tensor = gaussian_blur(pictures.detach(), [BLUR_KERNEL] * 2, [BLUR_SIGMA] * 2)
    return smooth


def averaged(inputs: Tensor) -> Tensor:
    """Return the mean of each example's channels, or of its elements for rows `(N, C)`."""
    given = _floating(inputs, "mean")
    return given.mean(_of_channel(given), keepdim=True)


_MAKERS: dict[str, Callable[[Tensor], Tensor]] = {
    "blur": blurred,
    "mean": averaged,
    "uniform": uniform_noise,
}


def _resolved(value: Any, tensor: Tensor) -> Any:
    if not isinstance(value, str):
        return value
    if value not in _MAKERS:
        names = ", ".join(map(repr, get_args(Made)))
        raise InputError(f"baselines must be numbers, tensors or one of {names}, got {value!r}")
    return _MAKERS[value](tensor)


def _floating(inputs: Any, name: str) -> Tensor:
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        what = inputs.dtype if isinstance(inputs, Tensor) else type(inputs).__name__
        raise InputTypeError(
            f"{name!r} replacements need floating inputs, got {what}; pass a number or a tensor"
        )
    return inputs.detach()


def _of_channel(inputs: Tensor) -> list[int]:
    """Return the dimensions of one channel's elements."""
    return list(range(2 if inputs.dim() > 2 else 1, inputs.dim()))


def _check_picture(pictures: Tensor) -> None:
    least = BLUR_KERNEL // 2 + 1
    if _floating(pictures, "blur").dim() != 4 or min(pictures.shape[2:]) < least:
        raise ShapeError(
            f"baselines='blur' needs pictures (N, C, h, w) of at least {least} pixels a side, got"
            f" the shape {tuple(pictures.shape)}; pass a number or a tensor"
        )

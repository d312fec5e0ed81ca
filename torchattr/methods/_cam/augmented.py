"""A method's mean over mirrored and scaled copies of its images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.core.pytree import joined, with_tensors
from torchattr.core.stepping import counted
from torchattr.errors import InputError

FACTORS = (0.9, 1.0, 1.1)
"""Factors of the images, each with and without mirroring."""


def augmented(attribute: Callable[[Any], Any], inputs: Inputs) -> Any:
    """Return the mean of the maps of six copies: mirrored or not, times 0.9, 1 and 1.1.

    The maps of mirrored copies are mirrored back.

    Args:
        attribute: returns maps of inputs.
        inputs: the inputs, of which the images `(N, C, h, w)` are changed.

    Raises:
        InputError: there are no floating images.
    """
    if not any(map(_is_image, inputs.tensors)):
        raise InputError(
            "aug_smooth mirrors and scales images, but no input is a floating tensor (N, C, h, w);"
            " leave it out"
        )
    maps, changes = [], list(product((False, True), FACTORS))
    with counted(len(changes)) as begin:
        for number, (mirrored, factor) in enumerate(changes):
            begin(number, number + 1)
            copies = [_copied(tensor, factor, mirrored) for tensor in inputs.tensors]
            found = attribute(inputs.restore(copies))
            maps.append(with_tensors(found, _mirrored) if mirrored else found)
    return joined(maps, _mean)


def _is_image(tensor: Tensor) -> bool:
    return tensor.dim() >= 4 and tensor.is_floating_point()


def _copied(tensor: Tensor, factor: float, mirrored: bool) -> Tensor:
    if not _is_image(tensor):
        return tensor
    return (_mirrored(tensor) if mirrored else tensor) * factor


def _mirrored(tensor: Tensor) -> Tensor:
    return tensor.flip(-1)


def _mean(maps: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(maps)).mean(0)

"""Perturbed copies of a batch: seeded noise, translations, or a function of the user's."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from torchattr.core.arguments import check_choice, check_function
from torchattr.core.checked_numbers import as_number
from torchattr.core.inputs import Inputs, as_tensors, as_value
from torchattr.errors import InputError, ShapeError
from torchattr.evaluate.measured_maps import number_or_tensor
from torchattr.evaluate.perturbed_rows import (
    SampleNoise,
    copy_after_copy,
    repeated_rows,
    side_by_side,
)

Perturb: TypeAlias = Callable[..., Any]
Noise = Literal["uniform", "normal"]
"""Whether noise is uniform within a radius, or normal with the radius as standard deviation."""

Fill: TypeAlias = "float | Tensor"
"""What enters a picture that is moved: a number, or a tensor that broadcasts to it."""

Neighbours: TypeAlias = Callable[[int, int], list[Tensor]]
"""Returns the copies `[start, stop)` of the inputs of a batch, copy after copy."""


def neighbours(
    inputs: Inputs, perturb_func: Perturb | None, noise: Noise, radius: float, seed: Any
) -> Neighbours:
    """Return what perturbs a batch.

    Args:
        inputs: the batch.
        perturb_func: of the user's, see :func:`torchattr.evaluate.sensitivity_max`; `None` adds
            noise.
        noise: how the noise is distributed.
        radius: the noise's size.
        seed: the noise's seed, or one for each example.

    Raises:
        InputError: an unknown noise, or a radius out of range.
    """
    if perturb_func is not None:
        return _by_function(inputs, perturb_func, radius)
    check_choice("noise", noise, get_args(Noise))
    radius = as_number(radius, "radius")
    if not 0 <= radius < float("inf"):
        raise InputError(f"radius must be finite and not negative, got {radius}")
    samples = SampleNoise(inputs, seed)
    draw = samples.uniform if noise == "uniform" else samples.normal

    def perturbed(start: int, stop: int) -> list[Tensor]:
        rows = repeated_rows(inputs.tensors, stop - start)
        return [x + radius * one for x, one in zip(rows, draw(start, stop), strict=True)]

    return perturbed


def translations(inputs: Inputs, steps: int, fill: Fill) -> Neighbours:
    """Return what moves pictures sideways, evenly from left of the frame to right of it.

    Args:
        inputs: pictures `(N, C, h, w)`.
        steps: number of copies.
        fill: the value of what enters.

    Raises:
        ShapeError: inputs that are not pictures.
    """
    fill = number_or_tensor(fill, "fill")
    for tensor in inputs.tensors:
        if tensor.dim() != 4:
            raise ShapeError(
                "pictures (N, C, h, w) are needed to move them sideways, got the shape"
                f" {tuple(tensor.shape)}"
            )

    def perturbed(start: int, stop: int) -> list[Tensor]:
        return [
            torch.cat([moved(x.detach(), shift, fill) for shift in _shifts(x, steps)[start:stop]])
            for x in inputs.tensors
        ]

    return perturbed


def moved(pictures: Tensor, columns: int, fill: Fill) -> Tensor:
    """Return pictures moved to the right, or to the left if `columns` is negative.

    >>> moved(torch.tensor([[[[1.0, 2.0, 3.0]]]]), 1, 0.0).tolist()
    [[[[0.0, 1.0, 2.0]]]]
    """
    width = pictures.shape[-1]
    found = as_value(fill, pictures).expand_as(pictures).clone()
    kept = max(width - abs(columns), 0)
    if kept:
        to, source = max(columns, 0), max(-columns, 0)
        found[..., to : to + kept] = pictures[..., source : source + kept]
    return found


def _shifts(tensor: Tensor, steps: int) -> list[int]:
    """Return the shifts in columns: none is 0, where nothing would change."""
    width = tensor.shape[-1]
    even = torch.linspace(1 - width, width - 1, steps, dtype=torch.float64).tolist()
    return [int(shift + 0.5 if shift >= 0 else shift - 0.5) or 1 for shift in even]


def _by_function(inputs: Inputs, perturb_func: Perturb, radius: float) -> Neighbours:
    check_function("perturb_func", perturb_func)
    takes_radius = len(inspect.signature(perturb_func).parameters) > 1

    def perturbed(start: int, stop: int) -> list[Tensor]:
        rows = side_by_side(inputs.tensors, stop - start)
        bare: Any = rows if len(rows) > 1 else next(iter(rows))
        found = perturb_func(bare, radius) if takes_radius else perturb_func(bare)
        changed = as_tensors(found, "what perturb_func returned")
        if [one.shape for one in changed] != [row.shape for row in rows]:
            raise ShapeError(
                f"perturb_func returned {[tuple(one.shape) for one in changed]} for inputs of shape"
                f" {[tuple(row.shape) for row in rows]}; return perturbed inputs of these shapes"
            )
        return [copy_after_copy(one, stop - start) for one in changed]

    return perturbed

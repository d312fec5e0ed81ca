"""Maps as a metric's options want them: normalised, and their magnitudes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchattr.errors import InputError, ShapeError


@dataclass(frozen=True)
class Normalising:
    """What is done to maps before they are measured.

    Attributes:
        function: normalises an array of maps; `None` divides each map by its largest magnitude.
        arguments: further arguments of the function.
        normalises: whether maps are normalised at all.
        absolute: whether magnitudes are taken.
    """

    function: Callable[..., Any] | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    normalises: bool = False
    absolute: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Normalising:
        """Return what the options of a metric ask for."""
        return cls(
            options["normalise_func"],
            options["normalise_func_kwargs"] or {},
            options["normalise"],
            options["abs"],
        )

    def applied(self, maps: Tensor, x: Tensor) -> Tensor:
        """Return maps in the dimensions of their inputs, normalised.

        Raises:
            ShapeError: maps that do not fit the inputs.
            InputError: maps that are not finite.
        """
        found = _like(maps.detach(), x)
        if not torch.isfinite(found).all():
            raise InputError("the attributions hold NaN or infinite values, which mean nothing")
        if self.normalises and self.function is not None:
            array = self.function(found.cpu().numpy().copy(), **self.arguments)
            found = torch.as_tensor(np.asarray(array)).to(found)
        elif self.normalises:
            found = by_largest(found)
        return found.abs() if self.absolute else found


def by_largest(maps: Tensor) -> Tensor:
    """Return each map divided by its largest magnitude; one of zeros stays.

    >>> by_largest(torch.tensor([[2.0, -4.0], [0.0, 0.0]])).tolist()
    [[0.5, -1.0], [0.0, 0.0]]
    """
    largest = maps.abs().flatten(1).amax(1).reshape(-1, *(1 for _ in maps.shape[1:]))
    return maps / largest.where(largest > 0, 1)


def _like(maps: Tensor, x: Tensor) -> Tensor:
    """Return maps with the dimensions of the inputs, of one channel if they have none."""
    found = maps.unsqueeze(1) if maps.dim() == x.dim() - 1 and x.dim() > 2 else maps
    fits = found.dim() == x.dim() and len(found) == len(x) and found.shape[2:] == x.shape[2:]
    if not fits or (found.shape[1] not in (1, x.shape[1])):
        raise ShapeError(
            f"the attributions have the shape {tuple(maps.shape)}, which does not fit inputs of"
            f" {tuple(x.shape)}; pass one value for each element or pixel"
        )
    return found

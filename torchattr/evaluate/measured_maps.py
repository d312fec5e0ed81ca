"""Maps and masks as metrics take them, and what a metric says where it is undefined."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchattr.core.arrays import tensor_of
from torchattr.core.checked_numbers import as_number
from torchattr.core.warn import warn
from torchattr.errors import InputError, InputTypeError, ShapeError, UndefinedMetricWarning
from torchattr.evaluate.ranks import has_order


def as_maps(values: Any, name: str = "maps") -> Tensor:
    """Return maps as `(N, h, w)` in double precision; channels `(N, C, h, w)` are summed.

    Raises:
        InputTypeError: neither a tensor nor an array of numbers.
        ShapeError: another shape, or no map.
        InputError: NaN or infinite values.
    """
    found = as_tensor(values, name)
    if found.dim() not in (3, 4) or not found.numel():
        raise ShapeError(
            f"{name} must be maps (N, h, w) or (N, C, h, w) of at least one value, got"
            f" the shape {tuple(found.shape)}"
        )
    maps = found.detach().double()
    maps = maps.sum(1) if maps.dim() == 4 else maps
    finite = torch.isfinite(maps).flatten(1).all(1)
    if not finite.all():
        first = int((~finite).nonzero()[0])
        raise InputError(f"{name}[{first}] holds NaN or infinite values, which cannot be measured")
    return maps


def as_masks(masks: Any, maps: Tensor, name: str = "masks") -> Tensor:
    """Return masks `(N, h, w)` of bools, one for each map.

    Args:
        masks: `(N, h, w)` or `(N, 1, h, w)`, bools or the numbers 0 and 1.
        maps: what they belong to, `(N, h, w)`.
        name: of the argument, for messages.

    Raises:
        InputTypeError: neither a tensor nor an array of numbers.
        ShapeError: another shape than the maps'.
        InputError: other numbers than 0 and 1, or a mask of nothing or everything, on which each
            map is equally right.
    """
    found = as_tensor(masks, name)
    found = found[:, 0] if found.dim() == 4 and found.shape[1] == 1 else found
    if found.shape != maps.shape:
        raise ShapeError(
            f"{name} must have the shape of the maps, {tuple(maps.shape)}, got"
            f" {tuple(found.shape)}; enlarge the maps by torch.nn.functional.interpolate"
        )
    if not ((found == 0) | (found == 1)).all():
        raise InputError(f"{name} must hold bools, or the numbers 0 and 1")
    inside = found.to(maps.device).bool()
    for extent, word in ((inside.flatten(1).any(1), "empty"), (~_is_full(inside), "full")):
        if not extent.all():
            first = int((~extent).nonzero()[0])
            raise InputError(
                f"{name}[{first}] is {word}, so that it cannot tell maps apart; leave that example"
                " out"
            )
    return inside


def undefined(values: Tensor, is_defined: Tensor, metric: str, because: str) -> Tensor:
    """Return values with NaN where a metric is undefined, and warn once if that is anywhere.

    Args:
        values: one for each map, or several, `(N, ...)`.
        is_defined: whether each is defined; it broadcasts to the values.
        metric: its name.
        because: what makes it undefined, as "the map is constant".
    """
    if is_defined.all():
        return values
    rows = is_defined.reshape(len(is_defined), -1).all(1)
    which = (~rows).nonzero().flatten().tolist()
    listed = ", ".join(map(str, which[:5])) + (" ..." if len(which) > 5 else "")
    warn(
        f"{metric} is undefined where {because}; it is NaN for {len(which)} of {len(values)} maps:"
        f" {listed}",
        UndefinedMetricWarning,
    )
    numbers = values if values.is_floating_point() else values.double()
    return numbers.masked_fill(~is_defined, torch.nan)


def is_varied(maps: Tensor) -> Tensor:
    """Whether each map holds more than one value, so that its elements have an order."""
    return has_order(maps.flatten(1))


def _is_full(masks: Tensor) -> Tensor:
    return masks.flatten(1).all(1)


def number_or_tensor(value: Any, name: str) -> Tensor | float:
    """Return a number, or several numbers as a tensor.

    Raises:
        InputTypeError: neither.
    """
    several = isinstance(value, (Tensor, np.ndarray, tuple, list))
    return as_tensor(value, name) if several else as_number(value, name)


def as_tensor(values: Any, name: str) -> Tensor:
    """Return a tensor or an array of numbers as a tensor.

    Raises:
        InputTypeError: neither.
    """
    if isinstance(values, Tensor):
        return values
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError):  # Rows of several lengths, tensors of a GPU.
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        raise InputTypeError(
            f"{name} must be a tensor or an array of numbers, got {type(values).__name__}"
        )
    return tensor_of(array)

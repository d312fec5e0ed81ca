"""Places in pooling windows, in plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.kernels.layout import Window, pooled_shape

# Elements pooled at once: what is made on the way stays in the cache.
PIECE = 2**18


def pool(x: Tensor, window: Window) -> tuple[Tensor, Tensor] | None:
    """Give each maximum of a contiguous tensor and its place; `None` if it cannot be told.

    It looks at one place of all windows at once. PyTorch compares element by element there, which
    takes about twice as long on a CPU. Which of several NaN wins is not seen this way.
    """
    shape = pooled_shape(tuple(x.shape), window)
    dims = len(window.extent)
    padded = _padded(x, shape[-dims:], window)
    values = x.new_empty(shape)
    places = torch.empty_like(values, dtype=torch.uint8)
    planes = [tensor.flatten(0, -dims - 1) for tensor in (padded, values, places)]
    count = max(1, PIECE // max(1, prod(padded.shape[-dims:])))
    pieces = (tensor.split(count) for tensor in planes)
    for piece, best, place in zip(*pieces, strict=True):
        _pool_into(best, place, piece, window)
    return (values, places) if bool(values.isfinite().all()) else None


def _pool_into(best: Tensor, place: Tensor, piece: Tensor, window: Window) -> None:
    """A later place wins only if it is larger, so the place that won is the last that did."""
    place.zero_()
    for number, steps in enumerate(product(*map(range, window.extent))):
        here = piece[_every(steps, best.shape, window)]
        if number == 0:
            best.copy_(here)
            continue
        wins = torch.gt(here, best).view(torch.uint8)
        torch.maximum(best, here, out=best)
        torch.maximum(place, wins.mul_(number), out=place)


def _every(steps: Sequence[int], sizes: Sequence[int], window: Window) -> tuple[Any, ...]:
    """Slice out one place of all windows."""
    starts = [step * d for step, d in zip(steps, window.dilation, strict=True)]
    spans = zip(starts, sizes[-len(steps) :], window.stride, strict=True)
    return (..., *(slice(start, start + (size - 1) * s + 1, s) for start, size, s in spans))


def _padded(x: Tensor, sizes: Sequence[int], window: Window) -> Tensor:
    """Surround the input by what never wins, as far as so many windows reach."""
    margins: list[int] = []
    for d in reversed(range(len(sizes))):
        span = window.dilation[d] * (window.extent[d] - 1) + 1
        reach = (sizes[d] - 1) * window.stride[d] + span - window.padding[d]
        margins += [window.padding[d], max(0, reach - x.shape[d - len(sizes)])]
    return F.pad(x, margins, value=-torch.inf) if any(margins) else x


def places_of(indices: Tensor, spatial: Sequence[int], window: Window) -> Tensor:
    """Give the number, in its window, of the place that each index names."""
    offsets = _offsets(spatial, window)
    if offsets.unique().numel() < window.places:
        return _divided(indices, spatial, window)
    numbers = torch.zeros(int(offsets[-1]) + 1, dtype=window.switch_dtype)
    numbers[offsets] = torch.arange(window.places).to(window.switch_dtype)
    numbers = numbers.to(indices.device)
    corners = _corners(indices.shape, spatial, window, indices.device)
    places = torch.empty_like(indices, dtype=window.switch_dtype)
    for one, into in zip(_pieces(indices), _pieces(places), strict=True):
        distance = (one - corners).reshape(-1)
        into.copy_(numbers.index_select(0, distance).view(one.shape))
    return places


def scatter(grad: Tensor, places: Tensor, input_shape: Sequence[int], window: Window) -> Tensor:
    """Add each element of `grad` to the place of its window."""
    spatial = input_shape[-len(window.extent) :]
    offsets = _offsets(spatial, window).to(grad.device)
    corners = _corners(grad.shape, spatial, window, grad.device)
    dims = len(spatial)
    # The whole and not its flat view is made: autograd adds up in place only what is no view.
    result = grad.new_zeros(tuple(input_shape))
    pieces = zip(_pieces(grad), _pieces(places), _pieces(result.flatten(-dims)), strict=True)
    for one, place, into in pieces:
        chosen = offsets.index_select(0, place.reshape(-1).int()).view(place.shape)
        into.scatter_add_(-1, chosen.add_(corners).flatten(-dims), one.flatten(-dims))
    return result


def _pieces(batch: Tensor) -> Sequence[Tensor]:
    """Give the examples one by one on a CPU, where what lies between then stays in the cache."""
    return batch.unbind() if batch.device.type == "cpu" else [batch]


def _divided(indices: Tensor, spatial: Sequence[int], window: Window) -> Tensor:
    """Find the places one dimension after the other.

    Where a padded window is wider than its input, two of its places can lie equally far from the
    first one, so that the distance alone does not tell them apart.
    """
    switch, rest = torch.zeros_like(indices), indices
    for d, extent in enumerate(window.extent):
        step = prod(spatial[d + 1 :])
        place = rest.div(step, rounding_mode="floor") if step > 1 else rest
        rest = rest - place * step
        place = place - _starts(indices.shape, d, window, indices.device)
        if window.dilation[d] > 1:
            place = place.div_(window.dilation[d], rounding_mode="floor")
        switch = switch.mul_(extent).add_(place)
    return switch.to(window.switch_dtype)


def _corners(
    output_shape: Sequence[int], spatial: Sequence[int], window: Window, device: torch.device
) -> Tensor:
    """Give the flat input index of each window's first place (outside the input with padding)."""
    corner = torch.zeros((), dtype=torch.long, device=device)
    for d in range(len(spatial)):
        corner = corner + _starts(output_shape, d, window, device) * prod(spatial[d + 1 :])
    return corner


def _starts(shape: Sequence[int], d: int, window: Window, device: torch.device) -> Tensor:
    """Give where windows start in spatial dimension `d`, to be broadcast over an output."""
    dims = len(window.extent)
    start = torch.arange(shape[d - dims], device=device) * window.stride[d] - window.padding[d]
    return start.view(-1, *(1,) * (dims - 1 - d))


def _offsets(spatial: Sequence[int], window: Window) -> Tensor:
    """Give the flat distance of each place of a window from its first one."""
    offset = torch.zeros((), dtype=torch.long)
    for d, extent in enumerate(window.extent):
        step = window.dilation[d] * prod(spatial[d + 1 :])
        offset = offset.unsqueeze(-1) + torch.arange(extent) * step
    return offset.reshape(-1)

"""Max-pools and positions within their windows, in plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.kernels.layout import Window, pooled_shape

# Elements pooled at once: intermediate results stay in the cache.
CHUNK = 2**18


def max_pool(x: Tensor, window: Window) -> tuple[Tensor, Tensor] | None:
    """Return each maximum of a contiguous tensor and its position; `None` if any is not finite.

    One position of all windows is compared at once. PyTorch's own pool compares element by element,
    which takes about twice as long on a CPU. This cannot determine which of several NaN wins.
    """
    shape = pooled_shape(tuple(x.shape), window)
    dims = len(window.extent)
    padded = _padded(x, shape[-dims:], window)
    values = x.new_empty(shape)
    positions = torch.empty_like(values, dtype=torch.uint8)
    planes = [tensor.flatten(0, -dims - 1) for tensor in (padded, values, positions)]
    count = max(1, CHUNK // max(1, prod(padded.shape[-dims:])))
    chunks = (tensor.split(count) for tensor in planes)
    for chunk, best, position in zip(*chunks, strict=True):
        _pool_into(best, position, chunk, window)
    return (values, positions) if bool(values.isfinite().all()) else None


def _pool_into(best: Tensor, position: Tensor, chunk: Tensor, window: Window) -> None:
    """Pool one chunk. A later element wins only if larger, so the last that won is the winner."""
    position.zero_()
    for number, steps in enumerate(product(*map(range, window.extent))):
        here = chunk[_strided(steps, best.shape, window)]
        if number == 0:
            best.copy_(here)
            continue
        wins = torch.gt(here, best).view(torch.uint8)
        torch.maximum(best, here, out=best)
        torch.maximum(position, wins.mul_(number), out=position)


def _strided(steps: Sequence[int], sizes: Sequence[int], window: Window) -> tuple[Any, ...]:
    """Return the slices that select one position of all windows."""
    starts = [step * d for step, d in zip(steps, window.dilation, strict=True)]
    spans = zip(starts, sizes[-len(steps) :], window.stride, strict=True)
    return (..., *(slice(start, start + (size - 1) * s + 1, s) for start, size, s in spans))


def _padded(x: Tensor, sizes: Sequence[int], window: Window) -> Tensor:
    """Pad the input with -inf, as far as so many windows reach."""
    margins: list[int] = []
    for d in reversed(range(len(sizes))):
        span = window.dilation[d] * (window.extent[d] - 1) + 1
        reach = (sizes[d] - 1) * window.stride[d] + span - window.padding[d]
        margins += [window.padding[d], max(0, reach - x.shape[d - len(sizes)])]
    return F.pad(x, margins, value=-torch.inf) if any(margins) else x


def positions_of(indices: Tensor, spatial: Sequence[int], window: Window) -> Tensor:
    """Return the position within its window of each flat index into the input."""
    offsets = _offsets(spatial, window)
    if offsets.unique().numel() < window.elements:
        return _positions_by_dimension(indices, spatial, window)
    numbers = torch.zeros(int(offsets[-1]) + 1, dtype=window.switch_dtype)
    numbers[offsets] = torch.arange(window.elements).to(window.switch_dtype)
    numbers = numbers.to(indices.device)
    corners = _corners(indices.shape, spatial, window, indices.device)
    positions = torch.empty_like(indices, dtype=window.switch_dtype)
    for index, position in zip(_examples(indices), _examples(positions), strict=True):
        distance = (index - corners).reshape(-1)
        position.copy_(numbers.index_select(0, distance).view(index.shape))
    return positions


def scatter(grad: Tensor, positions: Tensor, input_shape: Sequence[int], window: Window) -> Tensor:
    """Add each element of `grad` to the input element at its position in the window."""
    spatial = input_shape[-len(window.extent) :]
    offsets = _offsets(spatial, window).to(grad.device)
    corners = _corners(grad.shape, spatial, window, grad.device)
    dims = len(spatial)
    # Not allocated flat: autograd accumulates in place only into tensors that are not views.
    result = grad.new_zeros(tuple(input_shape))
    chunks = zip(
        _examples(grad), _examples(positions), _examples(result.flatten(-dims)), strict=True
    )
    for values, position, target in chunks:
        chosen = offsets.index_select(0, position.reshape(-1).int()).view(position.shape)
        target.scatter_add_(-1, chosen.add_(corners).flatten(-dims), values.flatten(-dims))
    return result


def _examples(batch: Tensor) -> Sequence[Tensor]:
    """Split a batch into examples on a CPU, where intermediate results then stay in the cache."""
    return batch.unbind() if batch.device.type == "cpu" else [batch]


def _positions_by_dimension(indices: Tensor, spatial: Sequence[int], window: Window) -> Tensor:
    """Return positions found one dimension after the other.

    Where a padded window is wider than its input, two of its elements can be equally far from the
    first one, so that the distance alone does not distinguish them.
    """
    switch, rest = torch.zeros_like(indices), indices
    for d, extent in enumerate(window.extent):
        step = prod(spatial[d + 1 :])
        position = rest.div(step, rounding_mode="floor") if step > 1 else rest
        rest = rest - position * step
        position = position - _starts(indices.shape, d, window, indices.device)
        if window.dilation[d] > 1:
            position = position.div_(window.dilation[d], rounding_mode="floor")
        switch = switch.mul_(extent).add_(position)
    return switch.to(window.switch_dtype)


def _corners(
    output_shape: Sequence[int], spatial: Sequence[int], window: Window, device: torch.device
) -> Tensor:
    """Return the flat input index of each window's first element; padding puts it outside."""
    corner = torch.zeros((), dtype=torch.long, device=device)
    for d in range(len(spatial)):
        corner = corner + _starts(output_shape, d, window, device) * prod(spatial[d + 1 :])
    return corner


def _starts(shape: Sequence[int], d: int, window: Window, device: torch.device) -> Tensor:
    """Return where windows start in spatial dimension `d`, to broadcast over an output."""
    dims = len(window.extent)
    start = torch.arange(shape[d - dims], device=device) * window.stride[d] - window.padding[d]
    return start.view(-1, *(1,) * (dims - 1 - d))


def _offsets(spatial: Sequence[int], window: Window) -> Tensor:
    """Return the flat distance of each element of a window from its first one."""
    offset = torch.zeros((), dtype=torch.long)
    for d, extent in enumerate(window.extent):
        step = window.dilation[d] * prod(spatial[d + 1 :])
        offset = offset.unsqueeze(-1) + torch.arange(extent) * step
    return offset.reshape(-1)

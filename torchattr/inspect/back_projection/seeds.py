"""The seeds of a back-projection: which maps of a layer, at which positions, and their values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from torchattr.core.arguments import plain_numbers
from torchattr.errors import InputError, InputTypeError
from torchattr.inspect.map_layout import check_position

Start: TypeAlias = "Literal['max', 'map'] | tuple[int, ...]"
Channels: TypeAlias = "int | Sequence[int] | str | None"

_STRONGEST = re.compile(r"top([1-9]\d*)")


@dataclass(frozen=True)
class Seeds:
    """Chosen maps of each example, and the positions where the signal starts.

    Attributes:
        channels: the maps, `(N, K)`.
        activations: the values at the starts, `(N, K)`; for a whole map its largest one.
        positions: of the starts, `(N, K, dimensions)`; `None` for whole maps.
    """

    channels: Tensor
    activations: Tensor
    positions: Tensor | None

    @classmethod
    def chosen(cls, values: Tensor, channels: Channels, start: Start) -> Seeds:
        """Choose among the maps `(N, channels, spatial...)`.

        Raises:
            InputError: a channel out of range, or an unknown start.
            ShapeError: a start outside the map.
        """
        flat = values.flatten(2)
        starts = _start_positions(flat, values.shape[2:], start)
        reached = flat.gather(2, starts[:, :, None]).squeeze(2)
        whole = isinstance(start, str) and start == "map"
        index = _channels(channels, flat.mean(2) if whole else reached)
        positions = None if whole else _unravelled(starts.gather(1, index), values.shape[2:])
        return cls(index, reached.gather(1, index), positions)

    def columns(self, first: int, stop: int) -> Seeds:
        """Return the seeds of a range of maps."""
        positions = None if self.positions is None else self.positions[:, first:stop]
        return Seeds(self.channels[:, first:stop], self.activations[:, first:stop], positions)

    def signal(self, values: Tensor, copies: int) -> Tensor:
        """Return the signal, one map per copy of the batch: `(copies · N, channels, ...)`.

        All values but the chosen ones are zero.
        """
        signal = values.new_zeros(copies, *values.shape)
        count, batch = self.channels.shape[1], len(values)
        copy = torch.arange(count, device=values.device)[:, None]
        row = torch.arange(batch, device=values.device)[None]
        if self.positions is None:
            signal[copy, row, self.channels.T] = values[row, self.channels.T]
        else:
            indices = self.positions.transpose(0, 1).unbind(2)
            index = (copy, row, self.channels.T, *indices)
            signal[index] = self.activations.T
        return signal.flatten(0, 1)


def _start_positions(flat: Tensor, shape: Sequence[int], start: Any) -> Tensor:
    """Return one flat position in each map, `(N, channels)`."""
    if isinstance(start, str) and start in ("max", "map"):
        return flat.argmax(2)
    if not isinstance(start, (tuple, list)):
        raise InputError(
            f"start must be 'max', 'map' or a position such as (row, column), got {start!r}"
        )
    flat_index = 0
    for position, size in zip(check_position(start, shape), shape, strict=True):
        flat_index = flat_index * size + position
    return torch.full(flat.shape[:2], flat_index, device=flat.device)


def _unravelled(flat_indices: Tensor, shape: Sequence[int]) -> Tensor:
    positions = []
    for size in reversed(shape):
        positions.append(flat_indices % size)
        flat_indices = flat_indices // size
    return torch.stack(positions[::-1], dim=2)


def _channels(channels: Any, strengths: Tensor) -> Tensor:
    batch, count = strengths.shape
    channels = plain_numbers(channels)
    if isinstance(channels, str):
        return strengths.topk(_number(channels, count), dim=1).indices
    if channels is None:
        listed = list(range(count))
    elif isinstance(channels, int) and not isinstance(channels, bool):
        listed = [channels]
    else:
        listed = _listed(channels)
    for channel in listed:
        if not -count <= channel < count:
            raise InputError(
                f"channel {channel} is out of range for a layer of {count} maps; allowed are 0 to"
                f" {count - 1}"
            )
    index = torch.tensor(listed, device=strengths.device) % count
    return index.expand(batch, len(listed))


def _listed(channels: Any) -> list[int]:
    values = channels.tolist() if isinstance(channels, Tensor) else channels
    if not isinstance(values, (Sequence, range)) or not all(type(c) is int for c in values):
        raise InputTypeError(
            "channels must be an int, a sequence of ints, 'top9' for the 9 strongest, or None for"
            f" all, got {channels!r}"
        )
    if not values:
        raise InputError("channels is empty; name at least one map, or pass None for all")
    return list(values)


def _number(channels: str, count: int) -> int:
    match = _STRONGEST.fullmatch(channels)
    if not match or int(match[1]) > count:
        raise InputError(
            f"channels must be 'top1' to 'top{count}' for a layer of {count} maps, ints, or None,"
            f" got {channels!r}"
        )
    return int(match[1])

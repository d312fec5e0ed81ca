"""Perturbed copies of a batch, made by a function of the user's, or with seeded noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.errors import ShapeError
from torchattr.methods import Footprint, SeededStreams, checked_seed, fitting, repeat_rows

Drawn = Callable[[int, int, int, int], Any]


class SampleNoise:
    """Noise for each input that the seed of an example and the number of a sample determine.

    Args:
        inputs: the batch.
        seed: a seed, the same for all examples, or one for each.

    Raises:
        ShapeError: not one seed for each example.
        InputTypeError, InputError: a seed that is no int from 0 to 2**64 - 1.
    """

    def __init__(self, inputs: Inputs, seed: Any) -> None:
        seeds = seed if isinstance(seed, (list, tuple)) else [seed]
        if len(seeds) not in (1, inputs.batch_size):
            raise ShapeError(
                f"seed has {len(seeds)} entries for {inputs.batch_size} examples; pass one for"
                " all, or one for each"
            )
        self._inputs = inputs
        self._streams = SeededStreams([checked_seed(one) for one in seeds])

    def normal(self, start: int, stop: int) -> list[Tensor]:
        """Return standard normal noise of samples `[start, stop)`, `(samples · N, ...)`."""
        return self._of(self._streams.normal, start, stop)

    def uniform(self, start: int, stop: int) -> list[Tensor]:
        """Return noise within [-1, 1) of samples `[start, stop)`, `(samples · N, ...)`."""
        return [2 * noise - 1 for noise in self._of(self._streams.uniform, start, stop)]

    def _of(self, draw: Drawn, start: int, stop: int) -> list[Tensor]:
        noises = []
        for stream, tensor in enumerate(self._inputs.tensors):
            drawn = torch.from_numpy(draw(stream, start, stop, tensor.shape[1:].numel()))
            samples = drawn.to(tensor.device, tensor.dtype).expand(-1, len(tensor), -1)
            noises.append(samples.reshape(-1, *tensor.shape[1:]))
        return noises


def repeated_rows(tensors: Sequence[Tensor], copies: int) -> list[Tensor]:
    """Return copies of a batch without its graph, copy after copy."""
    return [repeat_rows(tensor.detach(), copies) for tensor in tensors]


def side_by_side(tensors: Sequence[Tensor], copies: int) -> tuple[Tensor, ...]:
    """Return copies of a batch, the copies of an example side by side, for functions of users."""
    return tuple(tensor.detach().repeat_interleave(copies, dim=0) for tensor in tensors)


def copy_after_copy(rows: Tensor, copies: int) -> Tensor:
    """Return rows that stand side by side for each example as copy after copy of the batch."""
    return rows.unflatten(0, (-1, copies)).transpose(0, 1).flatten(0, 1)


def copies_at_once(inputs: Inputs) -> int:
    """Return the number of copies of a batch that fit into memory by the size of the inputs."""
    footprint = Footprint()
    for tensor in inputs.tensors:
        footprint.note(tensor)
    needed = footprint.bytes_with_graph
    return fitting(needed, footprint, inputs.batch_size, inputs.tensors[0].device)

"""Random numbers that a seed, a stream and the number of a sample determine alone.

The generator is counter-based, so that it can start at any sample. NumPy guarantees that its raw
numbers stay the same, on every machine; they are made on the CPU whatever the device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil

import numpy as np
import torch
from torch import Tensor

# The generator returns four numbers for each value of its counter.
_BLOCK = 4


def key_of(seed: int, stream: int) -> int:
    """Return the generator's key for one of the independent streams of a seed below 2**64."""
    return seed + (stream << 64)


def uniform(key: int, start: int, stop: int, width: int) -> np.ndarray:
    """Return rows `[start, stop)` of a stream of numbers within [0, 1), `(stop - start, width)`."""
    blocks = ceil(width / _BLOCK)
    generator = np.random.Philox(key=key, counter=start * blocks)
    raw = generator.random_raw((stop - start) * blocks * _BLOCK)
    return (raw >> np.uint64(11)).reshape(stop - start, blocks * _BLOCK)[:, :width] * 2.0**-53


def normal(key: int, start: int, stop: int, width: int) -> np.ndarray:
    """Return rows `[start, stop)` of a stream of standard normal numbers (Box and Muller 1958)."""
    half = ceil(width / 2)
    numbers = uniform(key, start, stop, 2 * half)
    # Of one minus the number, which is never 0.
    radii, angles = np.sqrt(-2 * np.log1p(-numbers[:, :half])), 2 * np.pi * numbers[:, half:]
    return np.concatenate([radii * np.cos(angles), radii * np.sin(angles)], axis=1)[:, :width]


class SeededStreams:
    """Streams of random numbers of a single seed for all examples, or of one for each.

    Args:
        seeds: one seed, or as many as there are examples.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._seeds = tuple(seeds)

    def uniform(self, stream: int, start: int, stop: int, width: int) -> np.ndarray:
        """Return numbers within [0, 1) of samples `[start, stop)`: `(samples, seeds, width)`."""
        return self._drawn(uniform, stream, start, stop, width)

    def normal(self, stream: int, start: int, stop: int, width: int) -> np.ndarray:
        """Return standard normal numbers of samples `[start, stop)`: `(samples, seeds, width)`."""
        return self._drawn(normal, stream, start, stop, width)

    def normal_like(self, stream: int, start: int, stop: int, like: Tensor) -> Tensor:
        """Return noise of samples `[start, stop)` for a batch: `(samples, seeds, *like.shape[1:])`.

        Its device and its dtype are those of the batch.
        """
        drawn = torch.from_numpy(self.normal(stream, start, stop, like.shape[1:].numel()))
        return drawn.to(like.device, like.dtype).reshape(*drawn.shape[:2], *like.shape[1:])

    def _drawn(
        self,
        draw: Callable[[int, int, int, int], np.ndarray],
        stream: int,
        start: int,
        stop: int,
        width: int,
    ) -> np.ndarray:
        drawn = np.empty((stop - start, len(self._seeds), width))
        for position, seed in enumerate(self._seeds):
            drawn[:, position] = draw(key_of(seed, stream), start, stop, width)
        return drawn

"""Random points between randomly drawn baselines and the inputs, with noise on the inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torchattr.core.inputs import Inputs
from torchattr.core.rounding import in_single
from torchattr.methods._gradient.baselines import BaselineRows
from torchattr.methods._perturbation.random_numbers import SeededStreams

# The streams of a seed: one for positions and baselines, then one for the noise of each input.
_PATHS, _NOISE = 0, 1


@dataclass(frozen=True)
class SampledPaths:
    """Straight paths of some samples of the batch, with one point on each.

    Attributes:
        starts: the drawn baselines, for each input `(samples, N, ...)`.
        ends: the inputs with their noise, of the same shape.
        alphas: the position of the points, 0 to 1, for each input; broadcast to that shape.

    All are at least of single precision.
    """

    starts: Sequence[Tensor]
    ends: Sequence[Tensor]
    alphas: Sequence[Tensor]

    @property
    def points(self) -> list[Tensor]:
        return [
            start + alpha * (end - start)
            for start, end, alpha in zip(self.starts, self.ends, self.alphas, strict=True)
        ]

    @property
    def differences(self) -> list[Tensor]:
        return [end - start for start, end in zip(self.starts, self.ends, strict=True)]


class PathSamples:
    """Samples of paths, each determined by its number and a seed alone.

    The inputs of an example share the position of their points, as the parts of one path.

    Args:
        inputs: the batch, `N` examples.
        rows: the baselines to draw from.
        stdevs: the standard deviation of the noise on each input.
        seeds: one seed for all examples, which then share everything that is drawn, or one for
            each.
    """

    def __init__(
        self, inputs: Inputs, rows: BaselineRows, stdevs: Sequence[float], seeds: Sequence[int]
    ) -> None:
        self._inputs, self._rows, self._stdevs = inputs, rows, stdevs
        self._streams = SeededStreams(seeds)

    @property
    def noisy(self) -> bool:
        """Whether ends differ from the inputs."""
        return any(self._stdevs)

    def drawn(self, start: int, stop: int) -> SampledPaths:
        """Return samples `[start, stop)`."""
        tensors = self._inputs.tensors
        numbers = torch.from_numpy(self._streams.uniform(_PATHS, start, stop, 1 + len(tensors)))
        ends = [self._end(position, start, stop) for position in range(len(tensors))]
        starts = [
            rows.to(end.dtype).expand_as(end)
            for rows, end in zip(self._rows.chosen(numbers[..., 1:]), ends, strict=True)
        ]
        alphas = [_beside(numbers[..., 0], end) for end in ends]
        return SampledPaths(starts, ends, alphas)

    def _end(self, position: int, start: int, stop: int) -> Tensor:
        tensor = in_single(self._inputs.tensors[position].detach())
        shape = (stop - start, *tensor.shape)
        if not self._stdevs[position]:
            return tensor.expand(shape)
        noise = self._streams.normal_like(_NOISE + position, start, stop, tensor)
        return (tensor + noise * self._stdevs[position]).expand(shape)


def _beside(numbers: Tensor, values: Tensor) -> Tensor:
    """Return numbers `(samples, seeds)` so that they broadcast to `(samples, N, ...)`."""
    form = (*numbers.shape, *(1 for _ in values.shape[2:]))
    return numbers.reshape(form).to(values.device, values.dtype)

"""Smooth random masks, each determined by the seed and its number alone."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.core.stepping import counted
from torchattr.methods._perturbation.features import Features
from torchattr.methods._perturbation.random_numbers import key_of, uniform

Normalisation = Literal["probability", "coverage"]

# Elements of the masks that are generated at a time when they are weighted by scores.
CHUNK_ELEMENTS = 2**22
_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


class RandomMasks(Features):
    """Coarse random grids, upsampled linearly and shifted, that leave parts of the inputs visible.

    Each cell of a grid is 1 with some probability. A grid of `g` cells is stretched over `g + 1`
    cells of `⌈size / g⌉` pixels, and cropped to the size of the input at a random offset within the
    first cell. So the expected visibility of each pixel is the cell's probability. The attribution
    of a pixel is the mean score of the masks, weighted by its visibility.

    Args:
        tensors: the inputs, `(N, C, ...)` with one to three more dimensions; all channels share a
            mask.
        count: number of masks.
        grids: for each input the number of cells of its grid in each of these dimensions.
        probability: probability that a cell is visible.
        seed: the masks' seed. They depend neither on the device nor on the chunk size.
        normalisation: the divisor of the weighted sum: the masks' expected sum, or their actual sum
            at each pixel.
    """

    def __init__(
        self,
        tensors: Sequence[Tensor],
        count: int,
        grids: Sequence[tuple[int, ...]],
        probability: float,
        seed: int,
        normalisation: Normalisation,
    ) -> None:
        self._count, self._probability = count, probability
        self._by_coverage = normalisation == "coverage"
        self._streams = [
            _Stream(tensor, grid, probability, key=key_of(seed, position))
            for position, (tensor, grid) in enumerate(zip(tensors, grids, strict=True))
        ]

    def __len__(self) -> int:
        return self._count

    def masks(self, start: int, stop: int) -> list[Tensor | None]:
        """Return the shares that are replaced: one minus the visibility."""
        return [1 - stream.visible(start, stop)[:, None, None] for stream in self._streams]

    def effects(self, clean: Tensor, replaced: Tensor) -> Tensor:
        """Return the scores themselves: each is that of the visible part."""
        return replaced

    def to_elements(self, effects: Tensor) -> list[Tensor]:
        return [self._weighted(stream, effects) for stream in self._streams]

    def _weighted(self, stream: _Stream, effects: Tensor) -> Tensor:
        """Weight the masks, which are generated again, by the scores: `(rows, targets, 1, ...)`."""
        kind = effects.dtype if effects.is_floating_point() else torch.get_default_dtype()
        precise = torch.promote_types(kind, torch.float32)
        scores = effects.to(stream.device, precise).flatten(1)
        total = scores.new_zeros(scores.shape[1], stream.shape.numel())
        coverage = scores.new_zeros(stream.shape.numel())
        size = max(CHUNK_ELEMENTS // stream.shape.numel(), 1)
        count = len(effects) if effects.numel() else 0
        with counted(count) as begin:
            for start in range(0, count, size):
                chunk = scores[start : start + size]
                stop = start + len(chunk)
                begin(start, stop)
                masks = stream.visible(start, stop).to(precise).flatten(1)
                total += chunk.T @ masks
                coverage += masks.sum(0)
        total /= self._expected(coverage)
        return total.reshape(*effects.shape[1:], 1, *stream.shape).to(kind)

    def _expected(self, coverage: Tensor) -> Tensor | float:
        """Return the divisor; where no mask is visible, the sum is zero as well."""
        if self._by_coverage:
            return torch.where(coverage > 0, coverage, 1)
        return self._count * self._probability


class _Stream:
    """The masks of one input, made range by range."""

    def __init__(
        self, tensor: Tensor, grid: tuple[int, ...], probability: float, *, key: int
    ) -> None:
        self.shape = tensor.shape[2:]
        self.device = tensor.device
        self._kind = torch.promote_types(tensor.dtype, torch.float32)
        self._grid, self._probability, self._key = grid, probability, key
        self._cells = [ceil(n / g) for n, g in zip(self.shape, grid, strict=True)]

    def visible(self, start: int, stop: int) -> Tensor:
        """Return the visibility under masks `[start, stop)`, `(stop - start, ...)`, 0 to 1."""
        drawn = uniform(self._key, start, stop, prod(self._grid) + len(self._grid))
        grids = drawn[:, : prod(self._grid)] < self._probability
        shifts = (drawn[:, prod(self._grid) :] * self._cells).astype(int)
        coarse = torch.from_numpy(grids).to(self.device, self._kind)
        size = [(g + 1) * c for g, c in zip(self._grid, self._cells, strict=True)]
        enlarged = F.interpolate(
            coarse.reshape(-1, 1, *self._grid), size, mode=_MODES[len(size)], align_corners=False
        )
        enlarged.clamp_(0, 1)  # The weights of an interpolation may sum to a little more than 1.
        return torch.stack([self._window(*pair) for pair in zip(enlarged, shifts, strict=True)])

    def _window(self, enlarged: Tensor, shift: Sequence[int]) -> Tensor:
        window = tuple(slice(s, s + n) for s, n in zip(shift, self.shape, strict=True))
        return enlarged[0][window]

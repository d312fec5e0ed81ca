"""Maps that know nothing of the model: edges, the centre, and noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from torchattr.methods import checked_seed

_SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
_SPREAD = 0.25
"""The standard deviation of the Gaussian, as a share of each side."""


def sobel_edges(pictures: Tensor) -> Tensor:
    """Return the edges of pictures `(N, C, h, w)` as maps `(N, h, w)`: an edge detector's answer.

    The magnitude of the Sobel gradient of the mean channel; the border is repeated outwards.

    >>> step = torch.zeros(1, 3, 4, 4)
    >>> step[..., 2:] = 1
    >>> sobel_edges(step)[0, 1].tolist()
    [0.0, 4.0, 4.0, 0.0]
    """
    grey = F.pad(pictures.double().mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = torch.tensor(_SOBEL, dtype=grey.dtype, device=grey.device)[None, None]
    return torch.hypot(F.conv2d(grey, across), F.conv2d(grey, across.mT))[:, 0]


def centre_gaussian(pictures: Tensor) -> Tensor:
    """Return a Gaussian in the middle of each picture, `(N, h, w)`: where photographers aim.

    Its standard deviation is a quarter of each side.

    >>> centre_gaussian(torch.zeros(1, 3, 5, 5))[0, 2].argmax().item()
    2
    """
    rows, columns = (_bell(size, pictures.device) for size in pictures.shape[2:])
    return (rows[:, None] * columns).expand(len(pictures), -1, -1)


def random_maps(pictures: Tensor, seed: int, first: int = 0) -> Tensor:
    """Return uniform noise for each picture, `(N, h, w)`: the control of every comparison.

    Args:
        pictures: `(N, C, h, w)`.
        seed: of the noise.
        first: the number of the first picture, on which and on the seed its noise depends.
    """
    stream = np.random.PCG64(checked_seed(seed))
    # A number of double precision takes one step of the generator.
    stream.advance(first * pictures.shape[2:].numel())
    generator = np.random.Generator(stream)
    drawn = generator.random((len(pictures), *pictures.shape[2:]))
    return torch.from_numpy(drawn).to(pictures.device)


def reduced(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps `(N, h, w)` averaged down to a size, or as they are if they have it."""
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    height, width = size
    return F.adaptive_avg_pool2d(maps[:, None], (height, width))[:, 0]


def _bell(size: int, device: torch.device) -> Tensor:
    places = torch.arange(size, dtype=torch.float64, device=device) - (size - 1) / 2
    return torch.exp(-((places / (_SPREAD * size)) ** 2) / 2)

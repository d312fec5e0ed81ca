"""Random transforms that make a maximised image robust, so that it holds more than noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, radians, sin
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from torchattr.errors import ShapeError

Transform: TypeAlias = Callable[[Tensor, Generator], Tensor]
"""From images `(N, C, ...)` and a random generator to changed images; differentiable."""


@dataclass(frozen=True)
class Jitter:
    """Rolls images by up to `pixels` in each direction, wrapping around.

    >>> import torch
    >>> Jitter(2)(torch.eye(4)[None, None], torch.Generator()).sum()
    tensor(4.)
    """

    pixels: int

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Roll all images by the same random offset."""
        dims = list(range(2, images.dim()))
        shifts = torch.randint(-self.pixels, self.pixels + 1, (len(dims),), generator=generator)
        return images.roll(shifts.tolist(), dims)


@dataclass(frozen=True)
class Affine:
    """Rotates and scales images `(N, C, H, W)` about their centre, at the same size.

    Borders are padded by reflection.

    Attributes:
        scale: the smallest and the largest factor.
        degrees: the largest angle.
    """

    scale: tuple[float, float] = (0.9, 1.1)
    degrees: float = 5.0

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Transform all images by the same random factor and angle.

        Raises:
            ShapeError: the images are not `(N, C, H, W)`.
        """
        if images.dim() != 4:
            raise ShapeError(
                f"Affine changes pictures (N, C, H, W), got the shape {tuple(images.shape)};"
                " pass transforms=(Jitter(4),) or none"
            )
        chance = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        factor = self.scale[0] + chance[0] * (self.scale[1] - self.scale[0])
        angle = radians(self.degrees) * (2 * chance[1] - 1)
        grid = F.affine_grid(
            _rotation(factor, angle, images), list(images.shape), align_corners=False
        )
        return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def default_transforms(images: Tensor, jitter: int) -> Sequence[Transform]:
    """Return the default transforms for images of these dimensions."""
    return (Jitter(jitter), Affine()) if images.dim() == 4 else (Jitter(jitter),)


def _rotation(factor: float, angle: float, images: Tensor) -> Tensor:
    """Return the matrix `(N, 2, 3)` in coordinates where both sides have length 2."""
    ratio = images.shape[2] / images.shape[3]
    across, down = cos(angle) / factor, sin(angle) / factor
    rows = [[across, -down * ratio, 0.0], [down / ratio, across, 0.0]]
    return torch.tensor(rows, dtype=images.dtype, device=images.device).expand(len(images), 2, 3)

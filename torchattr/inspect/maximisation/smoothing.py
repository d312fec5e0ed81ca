"""Total variation, blurring and normalisation, which limit the high frequencies of an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ROUNDING = 0.01
"""Differences well below this count as smooth, so that the total variation is differentiable."""


def total_variation(images: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbours, summed over spatial dimensions: `(N,)`.

    >>> total_variation(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]))
    tensor([1.])
    """
    steps = [images.diff(dim=d).abs().flatten(1) for d in range(2, images.dim())]
    return torch.stack([step.mean(1) for step in steps if step.shape[1]]).sum(0)


def variation_gradient(images: Tensor) -> Tensor:
    """Return the gradient of the sum of `sqrt(d² + ε²)` over the differences `d` of neighbours."""
    gradient = torch.zeros_like(images)
    for d in range(2, images.dim()):
        step = images.diff(dim=d)
        slope = step / (step.square() + ROUNDING**2).sqrt()
        length = images.shape[d]
        gradient.narrow(d, 1, length - 1).add_(slope)
        gradient.narrow(d, 0, length - 1).sub_(slope)
    return gradient


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian along each spatial dimension; the border is repeated."""
    if sigma <= 0:
        return images
    reach = max(1, round(3 * sigma))
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (weights / weights.sum())[None, None]
    for d in range(2, images.dim()):
        lines = images.movedim(d, -1)
        padded = F.pad(lines.reshape(-1, 1, lines.shape[-1]), (reach, reach), mode="replicate")
        images = F.conv1d(padded, kernel).reshape(lines.shape).movedim(-1, d)
    return images


def normalised(images: Tensor) -> Tensor:
    """Divide each image by its root mean square; one that is zero stays zero."""
    size = images.flatten(1).square().mean(1).sqrt()
    scale = torch.where(size > 0, size, torch.ones_like(size))
    return images / scale.reshape(-1, *(1 for _ in images.shape[1:]))


def laplacian_normalised(images: Tensor, levels: int) -> Tensor:
    """Return the sum of all frequency bands, each normalised to the same strength.

    The bands are differences of Gaussians, each twice as wide as the one before.
    """
    bands = torch.zeros_like(images)
    for level in range(levels - 1):
        coarse = blurred(images, float(2**level))
        bands, images = bands + normalised(images - coarse), coarse
    return normalised(bands + normalised(images))

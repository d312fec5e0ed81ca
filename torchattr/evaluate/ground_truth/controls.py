"""Maps that know nothing of the model: what a method must beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import pad


def random_map(pictures: Tensor) -> Tensor:
    """Return uniform noise of the pictures' size, the same in each call: `(N, 1, h, w)`."""
    generator = torch.Generator().manual_seed(0)
    count, _, *size = pictures.shape
    return torch.rand(count, 1, *size, generator=generator, dtype=torch.float64).to(pictures)


def edge_map(pictures: Tensor) -> Tensor:
    """Return the size of the pictures' differences between neighbours: `(N, 1, h, w)`."""
    across = pad(pictures, (1, 1, 0, 0), mode="replicate")
    down = pad(pictures, (0, 0, 1, 1), mode="replicate")
    horizontal = across[..., 2:] - across[..., :-2]
    vertical = down[..., 2:, :] - down[..., :-2, :]
    return (horizontal.square() + vertical.square()).sum(1, keepdim=True).sqrt()


def centre_map(pictures: Tensor) -> Tensor:
    """Return a Gaussian in the middle, a quarter of the side wide: `(N, 1, h, w)`."""
    height, width = pictures.shape[2:]
    rows = torch.linspace(-1, 1, height).to(pictures)[:, None]
    columns = torch.linspace(-1, 1, width).to(pictures)
    bump = torch.exp(-(rows.square() + columns.square()) / (2 * 0.5**2))
    return bump.expand(len(pictures), 1, -1, -1).contiguous()


CONTROLS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "(random)": random_map,
    "(edges)": edge_map,
    "(centre)": centre_map,
}
"""By the name in tables, where brackets tell them from methods."""

"""Projections of channels to their first principal component, with a definite sign."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from torchattr.errors import LayerError
from torchattr.methods._cam.positions import over_positions

Kernel = Literal["sigmoid", "rbf", "linear", "cosine"]

MOST_POSITIONS = 2**13
"""Kernels compare each position with each other, so that larger grids would not fit into memory."""


def first_component(channels: Tensor, along: Tensor) -> Tensor:
    """Return the projection of each position on the first principal component, `(N, 1, ...)`.

    `X v` for the first right singular vector `v` of the `(positions, C)` matrix `X`, whose columns
    are centred. A component has no sign of its own: it is turned so that it does not decrease along
    a given map, `Σ_p (X v)_p · along_p ≥ 0`.

    Args:
        channels: `(N, C, ...)`.
        along: `(N, 1, ...)`.

    Raises:
        LayerError: fewer than two positions.
    """
    centred = _centred(channels)
    positions, count = centred.shape[-2:]
    if count <= positions:
        _, vectors = torch.linalg.eigh(centred.mT @ centred)
        projected = centred @ vectors[..., -1:]
    else:
        values, vectors = torch.linalg.eigh(centred @ centred.mT)
        projected = vectors[..., -1:] * values[..., -1:, None].clamp(min=0).sqrt()
    return _turned(projected, along, channels)


def first_kernel_component(
    channels: Tensor, along: Tensor, kernel: Kernel, gamma: float | None
) -> Tensor:
    """Return the same in the space of a kernel between positions: `√λ · u`, of the centred kernel.

    Args:
        channels: `(N, C, ...)`.
        along: `(N, 1, ...)`.
        kernel: the kernel.
        gamma: its scale; 1 / C by default.

    Raises:
        LayerError: fewer than two positions, or too many to compare each with each other.
    """
    centred = _centred(channels)
    positions, count = centred.shape[-2:]
    if positions > MOST_POSITIONS:
        raise LayerError(
            f"kernel components compare all positions with each other, but the layer has"
            f" {positions}, more than {MOST_POSITIONS}; choose a deeper layer, or EigenCAM"
        )
    compared = KERNELS[kernel](centred, 1 / count if gamma is None else gamma)
    means = compared.mean(-1, keepdim=True)
    inner = compared - means - means.mT + means.mean(-2, keepdim=True)
    values, vectors = torch.linalg.eigh(inner)
    projected = vectors[..., -1:] * values[..., -1:, None].clamp(min=0).sqrt()
    return _turned(projected, along, channels)


def magnitude(channels: Tensor) -> Tensor:
    """Return the sum of the magnitudes of all channels, `(N, 1, ...)`."""
    return channels.abs().sum(1, keepdim=True)


def _centred(channels: Tensor) -> Tensor:
    """Return `(N, positions, C)` with a mean of 0 over the positions, in double precision.

    A squared matrix has half the digits of its own.

    Raises:
        LayerError: fewer than two positions.
    """
    rows = over_positions(channels).mT.double()
    return rows - rows.mean(-2, keepdim=True)


def _turned(projected: Tensor, along: Tensor, like: Tensor) -> Tensor:
    guide = along.flatten(2).mT.double()
    signs = torch.where((projected * guide).sum(-2, keepdim=True) < 0, -1.0, 1.0)
    return (projected * signs).mT.reshape(len(like), 1, *like.shape[2:]).to(like.dtype)


def _sigmoid(rows: Tensor, gamma: float) -> Tensor:
    return (gamma * (rows @ rows.mT) + 1).tanh()


def _rbf(rows: Tensor, gamma: float) -> Tensor:
    return (-gamma * torch.cdist(rows, rows).square()).exp()


def _linear(rows: Tensor, gamma: float) -> Tensor:
    return rows @ rows.mT


def _cosine(rows: Tensor, gamma: float) -> Tensor:
    return _linear(torch.nn.functional.normalize(rows, dim=-1), gamma)


KERNELS: dict[Kernel, Callable[[Tensor, float], Tensor]] = {
    "sigmoid": _sigmoid,
    "rbf": _rbf,
    "linear": _linear,
    "cosine": _cosine,
}

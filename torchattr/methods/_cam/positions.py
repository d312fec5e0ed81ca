"""The positions of a layer, for methods that compare them with each other."""

from __future__ import annotations

from torch import Tensor

from torchattr.errors import LayerError


def over_positions(channels: Tensor) -> Tensor:
    """Return `(N, C, positions)` of channels `(N, C, ...)`.

    Raises:
        LayerError: no positions, or a single one, with which there is nothing to compare.
    """
    count = channels.shape[2:].numel() if channels.dim() > 2 else 0
    if channels.dim() < 3 or count == 1:
        has = "a single position" if count else "no positions"
        raise LayerError(
            f"the layer's values of shape {tuple(channels.shape)} have {has}, but EigenCAM,"
            " EigenGradCAM, KPCACAM, FEM and eigen_smooth compare several with each other; choose a"
            " layer before the global pooling, or leave these out"
        )
    return channels.flatten(2)

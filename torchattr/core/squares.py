"""Squares of pixels, as features that are replaced together."""

from __future__ import annotations

import torch
from torch import Tensor


def squares(inputs: Tensor, cells: int) -> Tensor:
    """Return a feature mask of squares for pictures `(N, C, H, W)`: integers `(1, 1, H, W)`.

    Args:
        inputs: the pictures, of which the size counts.
        cells: number of squares in a row and in a column.

    >>> squares(torch.zeros(1, 3, 4, 4), cells=2)[0, 0].tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    """
    height, width = inputs.shape[-2:]
    rows = torch.arange(height, device=inputs.device) * cells // height
    columns = torch.arange(width, device=inputs.device) * cells // width
    return (rows[:, None] * cells + columns)[None, None]

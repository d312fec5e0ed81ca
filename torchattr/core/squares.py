"""Squares of pixels, as features that are replaced together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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


def square_features(options: Mapping[str, Any], inputs: Tensor) -> dict[str, Any]:
    """Return options of a method for pictures, in which a number may stand for squares of them.

    That of `feature_mask` counts the squares in a row and in a column; `sliding_window_shapes` is
    the side of a window, which has all channels.

    >>> square_features({"sliding_window_shapes": 5, "strides": 2}, torch.zeros(1, 3, 8, 8))
    {'sliding_window_shapes': (3, 5, 5), 'strides': 2}
    """
    found = dict(options)
    cells, side = found.get("feature_mask"), found.get("sliding_window_shapes")
    if isinstance(cells, int):
        found["feature_mask"] = squares(inputs, cells)
    if isinstance(side, int):
        found["sliding_window_shapes"] = (inputs.shape[1], side, side)
    return found

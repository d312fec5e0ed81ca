"""Cells of grids."""

from __future__ import annotations

import torch
from torch import nn

from torchattr.evaluate.ground_truth.grid_cells import grid_cells


def test_each_cell_is_a_row_with_its_mask() -> None:
    cells = torch.arange(8.0).reshape(8, 1, 1, 1).expand(-1, 3, 4, 6)
    grids = grid_cells(nn.Identity(), cells, torch.arange(8), "sigmoid")
    assert grids.inputs.shape == (8, 3, 8, 12)
    assert grids.asked.inputs.shape == (2, 3, 8, 12)
    assert grids.asked.targets.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    for row, (picture, mask) in enumerate(zip(grids.inputs, grids.masks, strict=True)):
        assert mask.sum() == 4 * 6
        assert bool((picture[:, mask] == row).all())
    assert grids.boxes[:4] == [(0, 0, 6, 4), (6, 0, 12, 4), (0, 4, 6, 8), (6, 4, 12, 8)]
    assert len(grids[4:8].asked) == 1

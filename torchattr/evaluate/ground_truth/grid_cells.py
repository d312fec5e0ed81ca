"""Cells of grids of pictures, whose classes are explained from one forward of the grid."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchattr.core.types import Activation
from torchattr.evaluate.ground_truth.labelled_pictures import LabelledPictures
from torchattr.evaluate.picture_grid import joined

ACROSS = 2
CELLS = ACROSS * ACROSS
"""Cells of a grid."""


def grid_cells(
    model: nn.Module, cells: Tensor, targets: Tensor, activation: Activation
) -> LabelledPictures:
    """Return a row for each cell of grids of four pictures, whose mask is that cell.

    Args:
        model: the network.
        cells: the pictures `(4 · grids, C, h, w)`, those of a grid row by row.
        targets: the class of each, `(4 · grids,)`.
        activation: what turns the network's scores into probabilities.
    """
    height, width = cells.shape[2:]
    grids = len(cells) // CELLS
    masks = torch.zeros(CELLS, ACROSS, height, ACROSS, width, dtype=torch.bool)
    for cell, mask in enumerate(masks):
        mask[cell // ACROSS, :, cell % ACROSS] = True
    return LabelledPictures(
        model,
        joined(cells, (ACROSS, ACROSS)).repeat_interleave(CELLS, 0),
        targets,
        masks.flatten(1, 2).flatten(2).repeat(grids, 1, 1).to(cells.device),
        activation=activation,
        each=CELLS,
    )

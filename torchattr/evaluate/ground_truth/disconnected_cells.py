"""Grids for networks that cannot mix their cells, so that evidence elsewhere is an error."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from torchattr.core.gradient_mode import gradients
from torchattr.core.inputs import as_inputs
from torchattr.core.types import Activation
from torchattr.evaluate.disconnected_grid import Disconnected, DisconnectedGrid
from torchattr.evaluate.ground_truth.grid_cells import ACROSS, CELLS
from torchattr.evaluate.ground_truth.labelled_pictures import LabelledPictures
from torchattr.evaluate.picture_grid import cut
from torchattr.methods import last_spatial_layer


class CellHeads(nn.Module):
    """The scores of a :class:`DisconnectedGrid`, those of all cells side by side, `(N, scores)`.

    So every method sees a network with one row of scores for each picture.

    Args:
        grid: the network.
    """

    def __init__(self, grid: DisconnectedGrid) -> None:
        super().__init__()
        self.grid = grid
        self.training = grid.training

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the scores of all cells: class `k` of cell `c` is at `c · classes + k`."""
        scores: Tensor = self.grid(pictures).flatten(1)
        return scores


def disconnected(grids: LabelledPictures, setting: Disconnected) -> LabelledPictures:
    """Return the same grids for a network that is cut into cells: DiFull or DiPart.

    The layer at which it is cut is the last one with spatial dimensions.

    Args:
        grids: a row for each cell, see :func:`grid_cells`.
        setting: what is disconnected.

    Raises:
        LayerError: the network has no layer with spatial dimensions.

    >>> from torchattr.evaluate.ground_truth.collage_pictures import collage_grids
    >>> grids = collage_grids(4, seed=1)
    >>> classes = grids.model(grids.inputs[:1]).shape[1]
    >>> (disconnected(grids, "full").targets - grids.targets) // classes
    tensor([0, 1, 2, 3])
    """
    first = grids.inputs[:1]
    layer, _ = last_spatial_layer(grids.model, as_inputs(first), (), target=int(grids.targets[0]))
    with gradients(False):
        classes = grids.model(cut(first, (ACROSS, ACROSS))).shape[1]
    cells = torch.arange(len(grids), device=grids.targets.device) % CELLS
    # A softmax over the heads of all cells would connect them again.
    activation: Activation = "none" if grids.activation == "softmax" else grids.activation
    # In inference mode, its parameters could not be shared.
    with gradients():
        model = CellHeads(DisconnectedGrid(grids.model, layer, (ACROSS, ACROSS), setting=setting))
    return replace(
        grids, model=model, targets=cells * classes + grids.targets, activation=activation
    )

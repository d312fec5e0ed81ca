"""Grids of pictures of different classes, in which a class has a known place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.evaluate.blocks import as_pictures
from torchattr.evaluate.localisation import cell_shares
from torchattr.methods import SeededStreams, checked_count, checked_seed

Cells = tuple[int, int]
"""Number of rows and of columns of a grid."""


@dataclass(frozen=True, eq=False)
class PictureGrid:
    """Grids of pictures.

    Attributes:
        pictures: `(G, C, rows · h, columns · w)`.
        labels: the class in each cell, `(G, rows, columns)`.
        sources: the number of the picture in each cell, `(G, rows, columns)`.
    """

    pictures: Tensor
    labels: Tensor
    sources: Tensor

    @property
    def cells(self) -> Cells:
        """Number of rows and of columns."""
        rows, columns = self.labels.shape[1:]
        return rows, columns

    @property
    def targets(self) -> list[Tensor]:
        """The class of each cell, row by row, as targets of the model: tensors `(G,)`."""
        return list(self.labels.flatten(1).unbind(1))

    @property
    def cell_targets(self) -> list[list[tuple[int, int]]]:
        """The same as targets of a :class:`torchattr.evaluate.DisconnectedGrid`."""
        classes = self.labels.flatten(1).T.tolist()
        return [[(cell, own) for own in labels] for cell, labels in enumerate(classes)]

    def __repr__(self) -> str:
        size = " × ".join(map(str, self.pictures.shape[2:]))
        return f"PictureGrid({len(self.pictures)} grids of {self.cells} cells, {size} pixels)"


def picture_grid(
    pictures: Tensor, labels: Any, cells: Cells = (2, 2), *, count: int | None = None, seed: int = 0
) -> PictureGrid:
    """Put pictures of different classes together to grids, at random.

    The data of the grid pointing game, of DiFull and of DiPart: Böhle, Fritz and Schiele 2021,
    arXiv:2104.00032; Rao, Böhle and Schiele 2022, arXiv:2205.10435, who use pictures that the model
    classifies with a probability of at least 0.99. No class occurs twice in a grid.

    Args:
        pictures: `(N, C, h, w)`.
        labels: the class of each, `(N,)`.
        cells: number of rows and of columns of a grid.
        count: number of grids; `None` makes as many as pictures fill.
        seed: of the choice of classes and pictures.

    Raises:
        InputTypeError, ShapeError: no pictures, or not one label for each.
        InputError: fewer classes than cells, or an argument out of range.

    >>> import torch
    >>> grid = picture_grid(torch.rand(4, 3, 8, 8), [0, 1, 2, 3])
    >>> grid.pictures.shape, sorted(grid.labels.flatten().tolist())
    (torch.Size([1, 3, 16, 16]), [0, 1, 2, 3])
    """
    given = as_pictures(pictures, "pictures")
    classes = _as_labels(labels, len(given))
    rows, columns = _checked_cells(cells)
    different = np.unique(classes)
    if len(different) < rows * columns:
        raise InputError(
            f"a grid of {rows} x {columns} cells needs pictures of {rows * columns} different"
            f" classes, but labels has {len(different)}; pass more pictures, or fewer cells"
        )
    grids = max(len(given) // (rows * columns), 1) if count is None else count
    checked_count(grids, "count")
    chosen = _chosen(classes, different, rows * columns, grids, checked_seed(seed))
    sources = torch.from_numpy(chosen).reshape(grids, rows, columns)
    taken = given.detach()[sources.flatten().to(given.device)]
    placed = torch.from_numpy(classes)[sources]
    return PictureGrid(joined(taken, (rows, columns)), placed.to(given.device), sources)


def grid_localisation(maps: Any, cells: Cells = (2, 2)) -> Tensor:
    """Measure the share of each map's positive part that lies in the cell it should show.

    `Σ_cell a⁺ / Σ a⁺`, the localisation score of the grid pointing game, 0 to 1; the higher, the
    better; chance is one by the number of cells. For `GridPG` the maps explain the model itself,
    each for the class of a cell; for DiFull and DiPart a
    :class:`torchattr.evaluate.DisconnectedGrid`, whose evidence for a cell can be nowhere else
    (DiFull), or only about as far as the receptive fields reach (DiPart). Rao, Böhle and Schiele
    2022, arXiv:2205.10435.

    It does *not* tell whether a map is right within its cell, and GridPG does *not* tell a wrong
    map from a model that finds the class elsewhere in the grid, too; DiFull does.

    Args:
        maps: for each cell, row by row, the map for what is there, `(G, cells, h, w)`, or
            `(G, cells, C, h, w)`, whose channels are summed first.
        cells: number of rows and of columns.

    Returns:
        `(G, rows, columns)`; NaN with a warning for maps without positive elements.

    Raises:
        InputTypeError, ShapeError: no maps, or not one for each cell.
        InputError: values that are not finite.

    >>> import torch
    >>> maps = torch.eye(4).reshape(1, 4, 2, 2)
    >>> maps[0, 1, 1, 1] = 3.0
    >>> grid_localisation(maps).tolist()
    [[[1.0, 0.25], [1.0, 1.0]]]
    """
    rows, columns = _checked_cells(cells)
    if not isinstance(maps, Tensor):
        raise InputTypeError(f"maps must be a tensor, got {type(maps).__name__}")
    if maps.dim() not in (4, 5) or maps.shape[1] != rows * columns:
        raise ShapeError(
            f"maps must hold one map for each of {rows * columns} cells, (G, {rows * columns}, h,"
            f" w), got the shape {tuple(maps.shape)}"
        )
    shares = cell_shares(maps.flatten(0, 1), (rows, columns))
    own = shares.reshape(len(maps), rows * columns, rows * columns).diagonal(dim1=1, dim2=2)
    return own.reshape(len(maps), rows, columns)


def joined(pictures: Tensor, cells: Cells) -> Tensor:
    """Return grids of pictures, `(N, C, rows · h, columns · w)` from `(N · cells, C, h, w)`."""
    rows, columns = cells
    apart = pictures.unflatten(0, (-1, rows, columns))
    return apart.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def cut(grids: Tensor, cells: Cells) -> Tensor:
    """Return the pictures of grids, `(N · cells, C, h, w)` from `(N, C, rows · h, columns · w)`."""
    rows, columns = cells
    apart = grids.unflatten(3, (columns, -1)).unflatten(2, (rows, -1))
    return apart.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def divides(cells: Cells, values: Tensor) -> bool:
    """Whether a grid of cells divides values `(N, C, h, w)` evenly."""
    return values.dim() == 4 and not any(
        extent % along for extent, along in zip(values.shape[2:], cells, strict=True)
    )


def _chosen(
    classes: np.ndarray, different: np.ndarray, cells: int, grids: int, seed: int
) -> np.ndarray:
    """Return the pictures of each grid, `(grids, cells)`, none of whose classes are equal."""
    streams = SeededStreams([seed])
    of_class = streams.uniform(0, 0, grids, len(different))[:, 0].argsort(1, kind="stable")
    within = streams.uniform(1, 0, grids, cells)[:, 0]
    chosen = np.empty((grids, cells), dtype=np.int64)
    for grid, cell in np.ndindex(grids, cells):
        own = np.flatnonzero(classes == different[of_class[grid, cell]])
        chosen[grid, cell] = own[int(within[grid, cell] * len(own))]
    return chosen


def _as_labels(labels: Any, count: int) -> np.ndarray:
    found = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if found.dtype.kind not in "iu":
        raise InputTypeError(f"labels must hold integers, got {found.dtype}")
    if found.shape != (count,):
        raise ShapeError(
            f"labels must hold one class for each of {count} pictures, got the shape {found.shape}"
        )
    return found.astype(np.int64)


def _checked_cells(cells: Any) -> Cells:
    if not isinstance(cells, tuple) or len(cells) != 2:
        raise InputTypeError(f"cells must be a tuple of rows and columns, got {cells!r}")
    rows, columns = cells
    return checked_count(rows, "the number of rows"), checked_count(columns, "that of columns")

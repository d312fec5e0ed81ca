"""Grids of pictures, and the shares of their cells."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from helpers import noise, refused

from torchattr.errors import InputError, InputTypeError, ShapeError, UndefinedMetricWarning
from torchattr.evaluate import grid_localisation, picture_grid
from torchattr.evaluate.picture_grid import cut, joined

near = partial(pytest.approx, rel=0, abs=1e-10)
PICTURES = noise(12, 3, 4, 5)
LABELS = [number % 6 for number in range(12)]


@pytest.mark.parametrize("cells", [(2, 2), (2, 3), (1, 2)])
def test_each_cell_holds_a_picture_of_its_class(cells: tuple[int, int]) -> None:
    grid = picture_grid(PICTURES, LABELS, cells, count=7)
    rows, columns = grid.cells
    assert (rows, columns) == cells
    assert grid.pictures.shape == (7, 3, 4 * rows, 5 * columns)
    for g in range(7):
        for row in range(rows):
            for column in range(columns):
                source = int(grid.sources[g, row, column])
                own = grid.pictures[g, :, 4 * row : 4 * row + 4, 5 * column : 5 * column + 5]
                assert torch.equal(own, PICTURES[source])
                assert grid.labels[g, row, column] == LABELS[source]
        assert len(grid.labels[g].unique()) == rows * columns
    assert grid.targets[1].tolist() == grid.labels[:, 0, 1].tolist()
    assert grid.cell_targets[1] == [(1, int(label)) for label in grid.labels[:, 0, 1]]


def test_grids_are_those_of_the_seed() -> None:
    first, again, other = (picture_grid(PICTURES, LABELS, seed=seed) for seed in (0, 0, 1))
    assert len(first.pictures) == 3
    assert torch.equal(first.sources, again.sources)
    assert not torch.equal(first.sources, other.sources)
    assert repr(first) == "PictureGrid(3 grids of (2, 2) cells, 8 × 10 pixels)"


def test_all_pictures_of_a_class_are_drawn() -> None:
    drawn = picture_grid(PICTURES, LABELS, count=60).sources.unique()
    assert drawn.tolist() == list(range(12))


def test_cutting_undoes_joining() -> None:
    assert torch.equal(cut(joined(PICTURES, (2, 3)), (2, 3)), PICTURES)


@pytest.mark.parametrize("channels", [(), (2,)])
def test_shares_against_a_loop(channels: tuple[int, ...]) -> None:
    maps = noise(2, 6, *channels, 4, 9)
    before = maps.clone()
    found = grid_localisation(maps, (2, 3))
    flat = maps.sum(2) if channels else maps
    for g in range(2):
        for cell in range(6):
            row, column = divmod(cell, 3)
            positive = flat[g, cell].clamp(min=0)
            inside = positive[2 * row : 2 * row + 2, 3 * column : 3 * column + 3].sum()
            assert found[g, row, column].item() == near((inside / positive.sum()).item())
    assert torch.equal(maps, before)


def test_a_map_without_positive_elements() -> None:
    maps = noise(1, 4, 4, 4)
    maps[0, 2] = -1.0
    with pytest.warns(UndefinedMetricWarning, match="no element is positive") as caught:
        found = grid_localisation(maps)
    assert len(caught) == 1
    assert found.isnan().tolist() == [[[False, False], [True, False]]]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        (
            {"labels": [0, 1, 2] * 4},
            InputError,
            "needs pictures of 4 different classes",
        ),
        ({"labels": LABELS[:4]}, ShapeError, "one class for each of 12 pictures"),
        ({"labels": [0.5] * 12}, InputTypeError, "labels must hold integers"),
        ({"cells": 2}, InputTypeError, "cells must be a tuple of rows and columns, got 2"),
        ({"cells": (0, 2)}, InputError, "the number of rows must be at least 1"),
        ({"count": 0}, InputError, "count must be at least 1"),
        ({"seed": -1}, InputError, "seed must be at least 0"),
        ({"pictures": PICTURES[0]}, ShapeError, "pictures must be pictures"),
    ],
)
def test_grids_that_cannot_be_made(options: Any, error: Any, says: str) -> None:
    with refused(error, says):
        picture_grid(**{"pictures": PICTURES, "labels": LABELS, **options})


def test_maps_that_do_not_fit_the_grid() -> None:
    with refused(ShapeError, "one map for each of 6 cells", "(2, 4, 4, 6)"):
        grid_localisation(noise(2, 4, 4, 6), (2, 3))
    with refused(ShapeError, "does not divide maps of 5 x 4"):
        grid_localisation(noise(2, 4, 5, 4))
    with refused(InputTypeError, "maps must be a tensor"):
        grid_localisation([1.0])

"""Squares as features."""

from __future__ import annotations

import torch

from torchattr.core.squares import squares


def test_squares_number_the_cells_of_a_grid() -> None:
    cells = squares(torch.zeros(1, 3, 28, 28), 14)
    assert cells.shape == (1, 1, 28, 28)
    assert cells.unique().numel() == 196
    assert bool((cells[0, 0, :2, 2:4] == 1).all())


def test_squares_cover_a_picture_that_they_do_not_divide() -> None:
    cells = squares(torch.zeros(1, 3, 10, 7), 3)[0, 0]
    assert cells.unique().tolist() == list(range(9))
    assert cells[:, 0].unique(return_counts=True)[1].tolist() == [4, 3, 3]

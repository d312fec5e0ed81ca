"""Which dimensions of a tensor are rows, columns and channels."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import noise
from torch import Tensor

from torchattr.incremental.grid import Grid, codes, decoded, plain_grid

PICTURES = Grid((2, 6, 4, 5), (2, 3))


@pytest.mark.parametrize(
    "grid",
    [PICTURES, Grid((2, 4, 5, 6), (1, 2)), Grid((2, 5, 3, 4, 2), (3, 1)), Grid((2, 7, 3), ())],
)
def test_rows_and_tensors_are_read_as_each_other(grid: Grid) -> None:
    x = noise(*grid.shape)
    last = grid.channels_last(x)
    assert last.shape == (2, grid.height, grid.width, grid.channels)
    assert torch.equal(grid.tensor(last), x)
    rows = last.reshape(-1, grid.channels)
    assert torch.equal(grid.gathered(grid.spread(rows)), rows)


@pytest.mark.parametrize(
    ("move", "spatial"),
    [
        (lambda x: x, (2, 3)),
        (lambda x: x.permute(0, 2, 3, 1), (1, 2)),
        (lambda x: x.permute(0, 3, 1, 2), (3, 1)),
        (lambda x: x.view(2, 2, 3, 4, 5).transpose(1, 2).flatten(1, 2), (2, 3)),
        (lambda x: x.view(2, 2, 3, 4, 5), (3, 4)),
        (lambda x: x[:, [4, 1, 1]], (2, 3)),
    ],
)
def test_finds_what_was_rearranged(move: Any, spatial: tuple[int, int]) -> None:
    found = decoded(move(codes(PICTURES)), PICTURES)
    assert found is not None
    grid, channels = found
    assert grid.spatial == spatial
    x = noise(*PICTURES.shape)
    expected: Tensor = grid.channels_last(move(x))
    assert torch.equal(PICTURES.channels_last(x)[..., channels], expected)


@pytest.mark.parametrize(
    "move",
    [
        lambda x: x.flip(2),
        lambda x: x.roll(1, 3),
        lambda x: x[:, :, 1:],
        lambda x: x.flatten(2),
        lambda x: x.flip(0),
        lambda x: torch.cat([x[:, :1].flip(2), x[:, 1:]], 1),
    ],
)
def test_knows_what_moves_pixels(move: Any) -> None:
    assert decoded(move(codes(PICTURES)), PICTURES) is None


def test_only_batches_of_pictures_are_plain() -> None:
    assert plain_grid(torch.Size([2, 3, 4, 5])) == Grid((2, 3, 4, 5), (2, 3))
    assert plain_grid(torch.Size([2, 3, 4])) is None
    assert plain_grid(torch.Size([2, 3, 0, 5])) is None

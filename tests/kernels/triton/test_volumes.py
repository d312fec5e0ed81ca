"""Volumes, windows and tiles as the pools' kernels see them."""

from __future__ import annotations

from math import prod

import pytest
import torch

from torchattr.kernels import Window

pytest.importorskip("triton.language")

from torchattr.kernels.triton.volumes import (
    Frame,
    Tiles,
    are_joined,
    as_volume,
    blank_volume,
    is_channels_last,
    volume_shape,
)


@pytest.mark.parametrize(
    ("shape", "dims", "expected"),
    [
        ((2, 3, 7), 1, (2, 3, 1, 1, 7)),
        ((3, 7), 1, (1, 3, 1, 1, 7)),
        ((2, 3, 7, 8), 2, (2, 3, 1, 7, 8)),
        ((3, 5, 7, 8), 3, (1, 3, 5, 7, 8)),
    ],
)
def test_volumes(shape: tuple[int, ...], dims: int, expected: tuple[int, ...]) -> None:
    x = torch.empty(shape)
    assert as_volume(x, dims).shape == volume_shape(shape, dims) == expected
    assert as_volume(x, dims).data_ptr() == x.data_ptr()


@pytest.mark.parametrize("last", [False, True])
def test_new_volumes_have_the_layout(last: bool) -> None:
    volume = blank_volume(torch.empty(1), torch.Size((2, 3, 1, 4, 5)), last, torch.uint8)
    assert volume.shape == (2, 3, 1, 4, 5)
    assert volume.dtype == torch.uint8
    assert is_channels_last(volume) is last


def test_windows_over_a_cell() -> None:
    frame = Frame.of(Window((3, 3), (2, 2), (1, 1), (1, 1)))
    assert (frame.extent, frame.stride, frame.padding) == ((1, 3, 3), (1, 2, 2), (0, 1, 1))
    # Elements 0 and 1 of a row are covered by windows 0 (from -1) and 1 (from 1).
    assert frame.windows_over_a_cell() == ((0, 0, 0), (1, 2, 2))


def test_tiles_cover_a_volume() -> None:
    shape = torch.Size((2, 3, 1, 4, 5))
    tiles = Tiles.over(shape, itemsize=4, last=False, wide=False)
    assert (tiles.rows, tiles.columns, tiles.parts, tiles.unit) == (120, 1, (5, 4, 1, 3), 1)
    height, width = tiles.shape
    assert tiles.grid == (-(-120 // height) * -(-1 // width),)
    last = Tiles.over(shape, itemsize=4, last=True, wide=True)
    assert (last.rows, last.columns, last.parts) == (40, 3, (5, 4, 1, 1))
    assert last.options["WIDE"] is True


@pytest.mark.parametrize("itemsize", [2, 4])
def test_each_thread_of_channels_last_tiles_has_16_bytes(itemsize: int) -> None:
    tiles = Tiles.over(torch.Size((2, 64, 1, 4, 5)), itemsize, last=True, wide=False)
    assert prod(tiles.shape) * itemsize == 16 * 128


def test_volumes_whose_examples_follow_each_other() -> None:
    volume = torch.empty(4, 6, 1, 5, 7)
    assert are_joined(volume, volume[:2])
    assert not are_joined(volume, volume[:, :3])
    assert not are_joined(volume[::2])

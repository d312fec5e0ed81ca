"""Blocks and superpixels as features."""

from __future__ import annotations

import sys

import pytest
import torch
from helpers import noise, refused

from torchattr.errors import InputError, InputTypeError, PackageError, ShapeError
from torchattr.evaluate import blocks, superpixels


@pytest.mark.parametrize("size", [2, 3, (2, 5), (9, 9)])
def test_blocks_are_numbered_row_by_row(size: int | tuple[int, int]) -> None:
    high, wide = size if isinstance(size, tuple) else (size, size)
    found = blocks(noise(2, 3, 5, 7), size)
    assert found.shape == (1, 1, 5, 7)
    along = -(-7 // wide)
    for y in range(5):
        for x in range(7):
            assert found[0, 0, y, x] == y // high * along + x // wide


def test_superpixels_lie_side_by_side_in_each_picture() -> None:
    pictures = torch.zeros(2, 3, 16, 16)
    pictures[0, :, :, 8:] = 5.0
    pictures[1, :, 8:] = -3.0
    found = superpixels(pictures, 4)
    assert found.shape == (2, 1, 16, 16)
    assert found.dtype == torch.long
    for labels, picture in zip(found[:, 0], pictures[:, 0], strict=True):
        assert all(len(picture[labels == one].unique()) == 1 for one in labels.unique())
    assert superpixels(noise(1, 1, 8, 8), 4).shape == (1, 1, 8, 8)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    with refused(PackageError, "scikit-image", "torchattr[superpixels]", "blocks"):
        superpixels(noise(1, 3, 8, 8))


def test_wrong_arguments_are_named() -> None:
    for size in (0, (3,), 1.5):
        with refused(InputError, "size must be a number of pixels of at least 1"):
            blocks(noise(1, 3, 8, 8), size)  # type: ignore[arg-type]
    for features in (blocks, superpixels):
        with refused(ShapeError, "pictures must be pictures", "(4, 4)"):
            features(torch.zeros(4, 4))
        with refused(InputTypeError, "got list"):
            features([1.0])  # type: ignore[arg-type]
    with refused(InputError, "count must be at least 1"):
        superpixels(noise(1, 3, 8, 8), 0)
    with refused(InputError, "NaN"):
        superpixels(noise(1, 3, 8, 8) * torch.nan)


def test_blocks_that_the_picture_cuts_off_cover_it() -> None:
    found = blocks(torch.zeros(1, 3, 5, 7), 3)
    assert found.shape == (1, 1, 5, 7)
    assert found[0, 0].unique().tolist() == list(range(6))
    assert found[0, 0, 4].tolist() == [3, 3, 3, 4, 4, 4, 5]

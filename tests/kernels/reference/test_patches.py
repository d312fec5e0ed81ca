"""Operations on patches beyond the contract tests: chunks, and divisors of means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import noise
from patch_cases import dense, rows

from torchattr.kernels.patches import Boxes, Convolution, Epilogue, Patches, Pooling
from torchattr.kernels.reference import patches as module
from torchattr.kernels.reference.patches import TorchPatches, mean_divisors

IMAGES = np.array([0, 0], dtype=np.int64)
WHOLE = Boxes.whole(IMAGES, 5, 6)
PATCHES = Patches(noise(1, 5, 6, 3), noise(WHOLE.rows, 3, seed=2), WHOLE)


@pytest.mark.parametrize("scratch", [1, 500, 2**20])
def test_chunks_of_any_size_give_the_same(scratch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCRATCH", scratch)
    weight = noise(4, 3, 3, 3, seed=3)
    output = TorchPatches().convolve(
        PATCHES, WHOLE, Convolution(weight, None, padding=(1, 1)), Epilogue()
    )
    expected = rows(F.conv2d(dense(PATCHES), weight, padding=1), WHOLE)
    torch.testing.assert_close(output, expected)


def test_gathering_the_same_boxes_copies_nothing() -> None:
    assert TorchPatches().gather(PATCHES, WHOLE) is PATCHES.changed


def test_divisors_of_means() -> None:
    counted = Pooling(False, (3, 3), (2, 2), (1, 1), counts_padding=True)
    inside = Pooling(False, (3, 3), (2, 2), (1, 1), counts_padding=False)
    given = Pooling(False, (3, 3), (2, 2), (1, 1), divisor=5)
    boxes = Boxes.whole(IMAGES[:1], 2, 2)
    assert mean_divisors(boxes, counted, (4, 4)).tolist() == [9, 9, 9, 9]
    assert mean_divisors(boxes, inside, (4, 4)).tolist() == [4, 6, 6, 9]
    assert mean_divisors(boxes, given, (4, 4)).tolist() == [5, 5, 5, 5]
    assert torch.is_tensor(TorchPatches().pool(PATCHES, boxes, given))

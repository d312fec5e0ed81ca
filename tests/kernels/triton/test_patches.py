"""Gathering and pooling patches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from patch_cases import cast
from triton_cases import IMAGE, NARROW, convolution, patches, rounding

from torchattr.kernels.patches import Boxes, Epilogue, Pooling
from torchattr.kernels.reference.patches import TorchPatches
from torchattr.kernels.triton.patches import TritonPatches

TRITON, REFERENCE = TritonPatches(), TorchPatches()


DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("maximum", [False, True])
@pytest.mark.parametrize("dtype", NARROW)
def test_pools_of_more_places_than_are_unrolled(maximum: bool, dtype: torch.dtype) -> None:
    x = cast(patches(5), dtype)
    pooling = Pooling(maximum, (9, 8), (1, 1), (4, 4), counts_padding=False)
    boxes = Boxes.whole(IMAGE, 6, 9)
    expected = REFERENCE.pool(cast(x, torch.float64), boxes, pooling)
    actual = TRITON.pool(x, boxes, pooling).double()
    unit, least = (0.0, 0.0) if maximum else (rounding(dtype), 1e-6)
    torch.testing.assert_close(actual, expected, rtol=unit, atol=least)


def test_nothing_is_made_of_no_rows() -> None:
    none = np.zeros(3, dtype=np.int64)
    x = cast(patches(20, boxes=Boxes.of(IMAGE, none, none, none, none)), torch.float32)
    assert TRITON.convolve(x, x.boxes, convolution("many channels"), Epilogue()).shape == (0, 70)
    assert TRITON.pool(x, x.boxes, Pooling(True, (2, 2), (1, 1))).shape == (0, 20)
    whole = Boxes.whole(IMAGE, 6, 9)
    assert torch.equal(TRITON.gather(x, whole), x.clean[IMAGE].reshape(-1, 20))

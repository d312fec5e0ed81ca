"""What the CUDA kernels are launched with."""

from __future__ import annotations

import pytest

from torchattr.kernels.cuda.launch import divisor


@pytest.mark.parametrize("value", [1, 2, 3, 7, 112, 12544, 2**31 - 1, 2**30 + 1])
def test_division_by_multiplication(value: int) -> None:
    _, factor, shift = divisor(value)
    assert factor < 2**32
    for dividend in (0, 1, value - 1, value, value + 1, 2**30 + 7, 2**31 - 1):
        if dividend < 2**31:
            assert ((dividend * factor >> 32) + dividend) >> shift == dividend // value

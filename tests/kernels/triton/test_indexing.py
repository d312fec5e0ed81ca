"""Indices: division by multiplication, and tensors that need 64 bits."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from torchattr.kernels.triton.indexing import divisor, is_wide


def test_which_tensors_need_64_bits() -> None:
    def far(*shape: int) -> Tensor:
        return torch.empty(shape, device="meta")

    assert not is_wide(far(2**30), far(4, 2**28).mT)
    assert is_wide(far(2**30), far(2**31))
    assert is_wide(far(2, 2**30)[:, :1].expand(2, 2**31))
    assert is_wide(far(4, 2**30)[:, :1]), "few elements, but far apart"
    assert is_wide(far(1).expand(2**31)), "close to each other, but many"


@given(st.integers(0, 2**31 - 1), st.integers(1, 2**31 - 1))
def test_division_by_multiplication(dividend: int, number: int) -> None:
    factor, shift = divisor(number)
    assert -(2**31) <= factor < 2**31
    high = (dividend * (factor % 2**32)) >> 32
    assert high + dividend < 2**32
    assert (high + dividend) >> shift == dividend // number

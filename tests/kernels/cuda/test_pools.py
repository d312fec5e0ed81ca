"""Variants of the CUDA pools."""

from __future__ import annotations

from torchattr.kernels.cuda.pools import index_bits


def test_a_wide_index_where_offsets_need_one() -> None:
    assert index_bits(2**31 - 2**17) == "INDEX_BITS=32"
    assert index_bits(5, 2**31) == "INDEX_BITS=64"
    assert index_bits(2**33) == "INDEX_BITS=64"

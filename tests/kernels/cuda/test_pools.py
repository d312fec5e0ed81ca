"""Variants of the CUDA pools."""

from __future__ import annotations

import torch

from torchattr.kernels import Window
from torchattr.kernels.cuda.pools import (
    Windowed,
    has_channels_last,
    in_three,
    index_bits,
    is_aligned,
    vector_of,
)


def test_a_wide_index_where_offsets_need_one() -> None:
    assert index_bits(2**31 - 2**17) == "INDEX_BITS=32"
    assert index_bits(5, 2**31) == "INDEX_BITS=64"
    assert index_bits(2**33) == "INDEX_BITS=64"


def test_leading_dimensions_are_neutral() -> None:
    assert in_three((2, 3), 1) == (1, 2, 3)
    assert in_three((4,), 0) == (0, 0, 4)
    windowed = Windowed(Window((3, 2), (2, 1), (1, 0), (1, 2)))
    assert windowed.argument == (1, 3, 2, 1, 2, 1, 0, 1, 0, 1, 1, 2)
    assert windowed.built_in[0] == "EXTENT=1,3,2"
    assert windowed.defines == ["TELLS_OPEN"]
    assert Windowed(Window((17, 16), (1, 1), (0, 0), (1, 1))).defines == ["WIDE_SWITCH"]


def test_how_many_windows_cover_a_tile() -> None:
    windowed = Windowed(Window((3,), (2,), (1,), (1,)))
    assert [windowed.covering(2, tile) for tile in (1, 2, 4)] == [3, 3, 4]


def test_layouts() -> None:
    x = torch.empty(2, 3, 4, 5)
    assert not has_channels_last(x, 2)
    assert has_channels_last(x.contiguous(memory_format=torch.channels_last), 2)
    assert not has_channels_last(x[0].transpose(0, 2), 2)
    assert [vector_of(dtype) for dtype in (torch.float32, torch.float16)] == [4, 8]
    assert is_aligned(x)
    assert not is_aligned(x.flatten()[1:])

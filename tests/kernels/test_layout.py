"""The layout that all backends share."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from helpers import noise
from hypothesis import given, settings
from hypothesis import strategies as st

from torchattr.kernels import Window, order_of
from torchattr.kernels.layout import from_order, in_order, is_dense, layout_of, mask_bytes


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_memory_order_is_read_without_a_copy(order: tuple[int, ...]) -> None:
    memory = torch.arange(2 * 3 * 4 * 5.0)
    shape = [(2, 3, 4, 5)[order.index(d)] for d in range(4)]
    inverse = [order.index(d) for d in range(4)]
    tensor = memory.view(2, 3, 4, 5).permute(inverse)
    assert list(tensor.shape) == shape
    assert order_of(tensor) == order
    run = in_order(tensor, order_of(tensor))
    assert torch.equal(run, memory)
    assert run.data_ptr() == memory.data_ptr()


def test_channels_last() -> None:
    assert order_of(noise(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)) == (0, 2, 3, 1)
    assert order_of(noise(2, 3, 4, 5)) == (0, 1, 2, 3)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_order_can_be_undone(shape: list[int], random: object) -> None:
    order = list(range(len(shape)))
    random.shuffle(order)  # type: ignore[attr-defined]
    tensor = noise(*shape)
    assert torch.equal(from_order(in_order(tensor, tuple(order)), shape, tuple(order)), tensor)


@pytest.mark.parametrize(("elements", "size"), [(0, 0), (1, 1), (8, 1), (9, 2), (64, 8)])
def test_mask_takes_a_bit_an_element(elements: int, size: int) -> None:
    assert mask_bytes(elements) == size


@pytest.mark.parametrize(
    ("extent", "dtype"), [((3, 3), torch.uint8), ((16, 16), torch.uint8), ((257,), torch.int32)]
)
def test_switch_takes_a_byte_for_windows_of_up_to_256_places(
    extent: tuple[int, ...], dtype: torch.dtype
) -> None:
    ones = (1,) * len(extent)
    assert Window(extent, ones, ones, ones).switch_dtype == dtype


def test_the_layout_of_memory() -> None:
    x = torch.empty(2, 3, 4, 5)
    for tensor in (x, x.permute(0, 2, 3, 1), x.transpose(0, 3), x[:, :1]):
        layout = layout_of(tensor.shape, tensor.stride())
        assert layout.order == order_of(tensor)
        assert layout.is_run == is_dense(tensor)
    assert not layout_of((2, 3), (6, 2)).is_run
    assert not layout_of((2, 3), (0, 1)).is_run

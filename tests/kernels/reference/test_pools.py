"""Positions in windows, against loops over single windows."""

from __future__ import annotations

import pytest
import torch
from helpers import noise
from oracles import naive_max_pool, naive_unpool

from torchattr.kernels import Window
from torchattr.kernels.layout import OPEN, pooled_with_indices
from torchattr.kernels.reference.pools import max_pool, positions_of, scatter

WINDOWS = [
    Window((2, 2), (2, 2), (0, 0), (1, 1)),
    Window((3, 2), (2, 1), (1, 0), (1, 2)),
    Window((3, 3), (2, 2), (1, 1), (1, 1), ceil_mode=True),
    # Wider than its input, where distances from the first element are ambiguous.
    Window((3, 7), (1, 1), (1, 3), (1, 1)),
]


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_positions_of_winners_and_the_way_back(window: Window) -> None:
    x = noise(2, 2, 5, 4)
    values, indices = pooled_with_indices(x, window)
    expected, switches = naive_max_pool(x, window, values.shape[2:])
    places = switches & ~OPEN
    assert torch.equal(positions_of(indices, x.shape[2:], window), places)
    pooled = max_pool(x, window)
    assert pooled is not None
    assert torch.equal(pooled[0], expected)
    assert torch.equal(pooled[1], places)
    grad = noise(*values.shape, seed=2)
    back = scatter(grad, places, x.shape, window)
    torch.testing.assert_close(back, naive_unpool(grad, switches, x.shape, window))


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_what_is_not_finite_is_left_to_pytorch(broken: float) -> None:
    x = noise(1, 1, 4, 4)
    x[0, 0, 1, 1] = broken
    assert max_pool(x, WINDOWS[0]) is None

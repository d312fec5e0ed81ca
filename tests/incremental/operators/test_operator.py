"""A changed value: its rows, and pixels of other boxes around them."""

from __future__ import annotations

import torch
from helpers import noise
from lowering import box, changed, operators_of

from torchattr.incremental.grid import Grid
from torchattr.kernels.reference.patches import TorchPatches

X = noise(1, 2, 4, 5)


def test_pixels_of_a_larger_box_come_from_the_clean_value() -> None:
    variant = X.clone()
    variant[:, :, 1:3, 2:4] = 7.0
    grid = Grid(tuple(X.shape), (2, 3))
    value = changed(X, variant, box(1, 2, 3, 4), grid)
    backend = TorchPatches()
    assert value.within(box(1, 2, 3, 4), backend) is value.rows
    rows = value.within(box(0, 0, 4, 5), backend)
    assert torch.equal(rows, variant[0].flatten(1).T)


def test_an_operator_caches_nothing_unless_it_says_so() -> None:
    (operator,) = operators_of(torch.sigmoid, X)
    assert (operator.held_bytes, operator.packing_bytes) == (0, 0)
    operator.release()

"""Boxes of changed pixels, and the descriptions of operations on them."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
import torch
from helpers import noise

from torchattr.kernels.patches import Boxes, Convolution, Epilogue


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


BOXES = Boxes.of(ints(0, 1, 1), ints(1, 3, 0), ints(2, 0, 0), ints(3, 3, 2), ints(5, 4, 1))
"""Of 2 x 3 pixels, empty, and of 2 x 1."""


def test_rows_follow_one_another_and_empty_boxes_have_none() -> None:
    assert BOXES.table.tolist() == [[0, 1, 2, 3, 5, 0], [1, 0, 0, 0, 0, 6], [1, 0, 0, 2, 1, 6]]
    assert BOXES.areas.tolist() == [6, 0, 2]
    assert BOXES.rows == 8
    assert len(BOXES) == 3


def test_positions_of_pixels() -> None:
    owner, down, along = BOXES.positions
    assert owner.tolist() == [0] * 6 + [2] * 2
    assert down.tolist() == [1, 1, 1, 2, 2, 2, 0, 1]
    assert along.tolist() == [2, 3, 4, 2, 3, 4, 0, 0]


def test_equality_is_that_of_the_tables() -> None:
    assert Boxes(BOXES.table.copy()) == BOXES
    assert Boxes.whole(ints(0, 1, 1), 4, 4) != BOXES
    assert BOXES != 3


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("dilation", [1, 2])
def test_outputs_whose_windows_cover_a_change(stride: int, padding: int, dilation: int) -> None:
    conv = torch.nn.functional.conv2d
    weight = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    pixels = torch.zeros(3, 1, 9, 8, dtype=torch.float64)
    owner, down, along = BOXES.positions
    pixels[owner, 0, down, along] = 1
    output = conv(pixels, weight, None, stride, padding, dilation)[:, 0]
    pairs = [(value, value) for value in (3, stride, padding, dilation)]
    reached = BOXES.reached(*pairs, output.shape[1:])
    for image, row in zip(output, reached.table, strict=True):
        down, along = image.nonzero().T
        if len(down) == 0:
            assert dilation > 1 or row[1:5].tolist() == [0, 0, 0, 0]
            continue
        assert row[1] <= down.min()
        assert row[2] <= along.min()
        assert row[3] >= down.max() + 1
        assert row[4] >= along.max() + 1
        if dilation == 1:
            sides = [down.min(), along.min(), down.max() + 1, along.max() + 1]
            assert row[1:5].tolist() == [int(side) for side in sides]


def test_a_pointwise_window_changes_no_box() -> None:
    assert BOXES.reached((1, 1), (1, 1), (0, 0), (1, 1), (9, 8)) is BOXES


def test_joined_boxes_hold_both() -> None:
    other = Boxes.of(ints(0, 1, 1), ints(0, 1, 0), ints(3, 1, 0), ints(2, 2, 0), ints(6, 2, 0))
    joined = BOXES.joined(other)
    assert joined.table[:, 1:5].tolist() == [[0, 2, 3, 6], [1, 1, 2, 2], [0, 0, 2, 1]]
    assert BOXES.joined(BOXES) is BOXES


def test_scaled_weights() -> None:
    weight, scale = noise(4, 3, 2, 1), noise(4, seed=2)
    conv = Convolution(weight, None, scale=scale)
    assert conv.extent == (2, 1)
    assert conv.scaled.scale is None
    assert torch.equal(conv.scaled.weight, weight * scale.view(-1, 1, 1, 1))
    assert conv.scaled.scaled.weight is not weight
    plain = Convolution(weight, None)
    assert plain.scaled is plain


def test_scaled_weights_lie_in_the_order_of_products() -> None:
    conv = Convolution(noise(4, 3, 2, 5), None, scale=noise(4, seed=2))
    assert conv.scaled.weight.permute(2, 3, 1, 0).is_contiguous()


def test_an_epilogue_does_nothing_by_itself() -> None:
    assert Epilogue() == Epilogue(None, -inf, inf)

"""Raw attention against NumPy, from an eager model."""

from __future__ import annotations

import pytest
from helpers import assert_same
from methods.attending import IMAGES, as_map, attending, eager

import torchattr as ta


@pytest.mark.parametrize("block", [0, 1, 2])
def test_row_of_the_class_token_as_a_mean_over_heads(block: int) -> None:
    model = attending()
    matrices, _ = eager(model)
    expected = as_map(matrices[block].mean(1)[:, 0])
    assert_same(ta.RawAttention(model, f"blocks.{block}").attribute(IMAGES, 1), expected, 1e-10)


def test_the_last_layer_by_default_and_the_same_for_each_target() -> None:
    model = attending()
    expected = as_map(eager(model)[0][-1].mean(1)[:, 0])
    for target in (None, 0, 3):
        assert_same(ta.RawAttention(model).attribute(IMAGES, target), expected, 1e-10)

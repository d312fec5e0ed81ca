"""Bytes that a run saves, and its peak."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks.measure.memory import highest_level, peak_bytes, remembered_bytes

CPU = torch.device("cpu")


def test_counts_each_storage_once_and_none_that_is_known() -> None:
    weight = torch.ones(8, requires_grad=True)
    x = torch.ones(8, requires_grad=True)

    def run() -> Tensor:
        hidden = (x * weight).exp()
        return hidden * hidden[:4].sum()

    # The exponential's output, the sum, and x itself; the weight is known.
    assert remembered_bytes(run, [weight]) == 4 * (8 + 1 + 8)


def test_peak_is_what_lives_at_once() -> None:
    def run() -> Tensor:
        one = torch.ones(1000, dtype=torch.float64)
        two = one + 1
        del one
        return two + 1  # Two at once, three in all.

    assert peak_bytes(run, CPU) == pytest.approx(16000, rel=0.02)


def test_highest_level_follows_the_order_of_time() -> None:
    assert highest_level([(3.0, 3, 8), (1.0, 1, 4), (2.0, 2, -4), (3.0, 2, 5)]) == 13

"""Bytes that a run saves, and its peak."""

from __future__ import annotations

from typing import Any

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


def test_counts_what_is_kept_when_the_first_backward_begins() -> None:
    x = torch.ones(8, requires_grad=True)
    beside = torch.ones(3)

    def run() -> None:
        (x + 0).exp()  # Forgotten at once.
        for _ in range(2):
            hidden = (x + 0).exp()
            (grad,) = torch.autograd.grad(hidden.sum(), x)
            leaf = grad.requires_grad_()
            torch.autograd.grad((leaf + 0).sigmoid().sum(), leaf)

    assert remembered_bytes(run, []) == 4 * 8
    assert remembered_bytes(run, [], lambda: [beside]) == 4 * (8 + 3)


def test_counts_at_the_end_without_a_backward() -> None:
    x = torch.ones(8, requires_grad=True)
    kept: list[Tensor] = []
    assert remembered_bytes(lambda: kept.append((x + 0).exp()), []) == 4 * 8


def test_counts_nothing_that_a_backward_saves() -> None:
    class Again(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            with torch.enable_grad():
                leaf = torch.ones(5, requires_grad=True)
                (leaf + 0).exp().sum().backward()
            return grad * 2

    x = torch.ones(8, requires_grad=True)

    def run() -> None:
        (grad,) = torch.autograd.grad(Again.apply((x + 0).exp()).sum(), x)
        assert grad.shape == (8,)

    assert remembered_bytes(run, []) == 4 * 8


def test_peak_is_what_lives_at_once() -> None:
    def run() -> Tensor:
        one = torch.ones(1000, dtype=torch.float64)
        two = one + 1
        del one
        return two + 1  # Two at once, three in all.

    assert peak_bytes(run, CPU) == pytest.approx(16000, rel=0.02)


def test_highest_level_follows_the_order_of_time() -> None:
    assert highest_level([(3.0, 3, 8), (1.0, 1, 4), (2.0, 2, -4), (3.0, 2, 5)]) == 13

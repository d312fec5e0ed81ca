"""The exponential kernel against its formula, for one sample and for batches of them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused

from torchattr.errors import InputError, InputTypeError
from torchattr.methods._perturbation.similarity import ExponentialKernel


def distance(mode: str, one: list[float], other: list[float]) -> float:
    if mode == "euclidean":
        return math.dist(one, other)
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return 1 - product / math.hypot(*one) / math.hypot(*other)


@pytest.mark.parametrize("mode", ["cosine", "euclidean"])
@pytest.mark.parametrize("rows", [2, 1])
def test_it_is_the_formula(mode: Any, rows: int) -> None:
    a, b = noise(2, 3), noise(2, 2, 2, seed=2)
    copied = noise(6, 3, seed=3), noise(6, 2, 2, seed=4)
    kernel = ExponentialKernel(mode, 0.7)
    found = kernel.of_copies((a, b), copied, rows)
    assert found.shape == (3, rows)
    for copy in range(3):
        for row in range(rows):
            own = slice(row, row + 1) if rows == 2 else slice(None)
            blocks = [part.unflatten(0, (3, 2))[copy][own] for part in copied]
            given = [part[own] for part in (a, b)]
            flat = [torch.cat([x.flatten() for x in parts]).tolist() for parts in (given, blocks)]
            expected = math.exp(-(distance(mode, *flat) ** 2) / (2 * 0.7**2))
            assert abs(kernel(tuple(given), tuple(blocks)) - expected) < 1e-12
            assert abs(float(found[copy, row]) - expected) < 1e-12


def test_integers_are_compared_as_numbers() -> None:
    found = ExponentialKernel("euclidean")(torch.tensor([[1, 2]]), torch.tensor([[1, 4]]))
    assert_same(torch.tensor(found), torch.tensor(math.exp(-2)), 1e-6)


def test_what_is_no_kernel_is_refused() -> None:
    with refused(InputError, "distance_mode", "'manhattan'", "cosine"):
        ExponentialKernel("manhattan")  # type: ignore[arg-type]
    with refused(InputError, "kernel_width", "0", "positive"):
        ExponentialKernel(kernel_width=0)
    with refused(InputTypeError, "kernel_width", "'wide'"):
        ExponentialKernel(kernel_width="wide")  # type: ignore[arg-type]

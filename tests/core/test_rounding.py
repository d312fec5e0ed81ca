"""Sums that cancel up to rounding become zero, by exact fractions; small sums are kept."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

import torchattr as ta
from torchattr.core.rounding import in_single, settled, settled_mean, settled_sum, unit
from torchattr.show import rescale

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_unit_is_that_of_the_type(dtype: torch.dtype) -> None:
    assert unit(torch.zeros(1, dtype=dtype)) == torch.finfo(dtype).eps
    assert unit(torch.zeros(1, dtype=torch.int64)) == unit(np.zeros(1, bool)) == 0
    assert unit(np.zeros(1, np.float16)) == np.finfo(np.float16).eps
    assert unit([0.5]) == np.finfo(np.float64).eps


@pytest.mark.parametrize("dtype", FLOATS)
def test_at_least_single_precision_keeps_values(dtype: torch.dtype) -> None:
    values = torch.rand(7).to(dtype)
    precise = in_single(values)
    assert precise.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.equal(precise.to(dtype), values)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_only_finite_sums_within_their_error_become_zero(kind) -> None:
    totals = kind([1.0, -1.0, 3.0, np.nan, np.inf, -np.inf, 0.0])
    errors = kind([2.0, 2.0, 2.0, np.nan, np.inf, np.inf, 0.0])
    np.testing.assert_array_equal(
        np.asarray(settled(totals, errors)), [0, 0, 3, np.nan, np.inf, -np.inf, 0]
    )


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("count", [2, 3, 64, 2048])
def test_terms_that_cancel(dtype: torch.dtype, count: int) -> None:
    half = torch.rand(count // 2, 5, dtype=torch.float64) + 0.1
    # Each term is the product of two numbers of its type; the exact ones cancel in pairs.
    one, other = (torch.rand(1, 5, dtype=torch.float64) + 0.1 for _ in range(2))
    pairs = [(half * one) * other, -(half * other) * one, torch.zeros(count % 2, 5)]
    kinds = [half.to(dtype) * one.to(dtype) * other.to(dtype)]
    kinds += [-(half.to(dtype) * other.to(dtype)) * one.to(dtype), pairs[2].to(dtype)]
    terms = torch.cat(kinds)
    assert settled_sum(terms, (0,)).abs().max() == 0
    assert settled_mean(terms, (0,)).abs().max() == 0


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("count", [3, 2048, 224 * 224])
def test_real_differences_stay(scale: float, count: int) -> None:
    terms = (torch.randn(8, count, dtype=torch.float64) * scale).float()
    exact = [float(sum(map(Fraction, row))) for row in terms.tolist()]
    found = settled_sum(terms, (1,))[:, 0]
    np.testing.assert_allclose(found.numpy(), exact, rtol=1e-2)
    means = settled_mean(terms, (1,))[:, 0]
    np.testing.assert_allclose(means.numpy(), [one / count for one in exact], rtol=1e-2)


def test_the_largest_numbers_have_an_error_too() -> None:
    largest = torch.finfo(torch.float32).max
    terms = torch.tensor([[largest, -largest, 1e30]])
    assert settled_sum(terms, (1,)).item() == 0
    assert settled_sum(torch.tensor([[largest, 0.0, 0.0]]), (1,)).item() == largest
    assert settled_sum(torch.tensor([[largest, largest]]), (1,)).item() == math.inf


class Weighed(torch.nn.Module):
    """Three channels whose weights cancel at the first position only."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = x.new_tensor([0.587, -0.299, 0.1]).reshape(3, 1, 1)
        return (self.layer(x) * weights).mean((1, 2, 3))[:, None]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_a_class_activation_map_that_cancels_is_drawn_as_zero(dtype, factor: float) -> None:
    x = torch.zeros(1, 3, 1, 2, dtype=dtype)
    x[0, :2] = torch.tensor([0.299, 0.587], dtype=dtype)[:, None, None] * factor
    method = ta.GradCAM(Weighed(), "layer")
    cam = method.attribute(x, target=0)
    assert not rescale(cam, "absolute").any()
    # One position with evidence is drawn, however small it is.
    x[0, 2, 0, 1] = 1e-5 * factor
    assert rescale(method.attribute(x, target=0), "absolute").ravel().tolist() == [0, 1]


@pytest.mark.parametrize("rectify", [True, False])
def test_gradients_that_cancel_weigh_nothing(rectify: bool) -> None:
    weights = torch.tensor([0.1, 0.2, -0.3, 0.0], dtype=torch.float64)

    class Differences(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.layer(x)[:, 0, 0] * weights).sum(1, keepdim=True)

    x = torch.rand(1, 1, 1, 4, dtype=torch.float64)
    cam = ta.GradCAM(Differences(), "layer").attribute(x, target=0, relu_attributions=rectify)
    assert not cam.any()

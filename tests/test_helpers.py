"""The comparison that all other tests rely on can fail."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_same, autograd, refused, weighted

ONES = torch.ones(2, 3, dtype=torch.float64)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (ONES + 1e-9, ONES),
        (ONES * torch.nan, ONES),
        (ONES * torch.inf, ONES),
        (ONES.float(), ONES),
        (ONES[:1], ONES),
        (ONES * 0, ONES * 0),
    ],
    ids=["other value", "nan", "infinite", "other dtype", "other shape", "only zeros"],
)
def test_comparison_fails_for(actual: torch.Tensor, expected: torch.Tensor) -> None:
    with pytest.raises(AssertionError):
        assert_same(actual, expected, 1e-10)


def test_comparison_allows_the_stated_share() -> None:
    assert_same(ONES + 1e-13, ONES, 1e-12)


def test_demanded_error_fails_for_a_missing_word() -> None:
    with pytest.raises(AssertionError), refused(ValueError, "absent"):
        raise ValueError("present")


def test_autograd_of_a_square() -> None:
    x = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    assert_same(autograd(lambda t: t * t, x, lambda t: t.sum(1)), 2 * x)
    assert len(weighted(x)) == 1

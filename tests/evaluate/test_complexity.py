"""The complexity of maps, against sums written out."""

import math

import pytest
import torch
from helpers import refused
from hypothesis import given
from hypothesis import strategies as st

from torchattr.errors import InputError, InputTypeError, UndefinedMetricWarning
from torchattr.evaluate import effective_complexity, entropy, gini_index

VALUES = st.lists(st.floats(-100, 100), min_size=6, max_size=6).filter(
    lambda values: sum(map(abs, values)) > 1e-3
)


def as_map(values):
    return torch.tensor(values, dtype=torch.float64).reshape(1, 2, 3)


@given(VALUES)
def test_gini_is_the_mean_difference_of_all_pairs(values):
    sizes = [abs(value) for value in values]
    pairs = sum(abs(a - b) for a in sizes for b in sizes)
    expected = pairs / (2 * len(sizes) * sum(sizes))
    assert gini_index(as_map(values)).item() == pytest.approx(expected, abs=1e-12)


@given(VALUES)
def test_entropy_of_the_shares(values):
    total = sum(map(abs, values))
    shares = [abs(value) / total for value in values]
    expected = -sum(share * math.log(share) for share in shares if share)
    assert entropy(as_map(values)).item() == pytest.approx(expected, abs=1e-12)


@given(VALUES, st.floats(0, 10))
def test_effective_complexity_counts(values, threshold):
    expected = sum(abs(value) > threshold for value in values)
    assert effective_complexity(as_map(values), threshold).item() == expected


@pytest.mark.parametrize("metric", [gini_index, entropy])
def test_extremes_and_scale(metric):
    one, even = torch.zeros(1, 4, 5), torch.ones(1, 4, 5)
    one[0, 1, 2] = -3.0
    found = metric(torch.cat([one, even, even * 7])).tolist()
    assert found == pytest.approx(
        [1 - 1 / 20, 0, 0] if metric is gini_index else [0, math.log(20), math.log(20)]
    )


@pytest.mark.parametrize("metric", [gini_index, entropy])
def test_a_map_of_zeros_has_none(metric):
    maps = torch.zeros(2, 3, 3)
    maps[1, 0, 0] = 1.0
    with pytest.warns(UndefinedMetricWarning, match="all elements are 0"):
        found = metric(maps)
    assert found.isnan().tolist() == [True, False]


def test_a_negative_threshold():
    with pytest.raises(InputError, match="at least 0, got -1"):
        effective_complexity(torch.ones(1, 2, 2), -1)


def test_a_threshold_that_is_no_number_is_refused() -> None:
    with refused(InputTypeError, "threshold must be a number, got str 'a'"):
        effective_complexity(torch.rand(1, 4, 4), "a")  # type: ignore[arg-type]


def test_a_threshold_may_be_a_share_of_the_largest_value() -> None:
    maps = torch.tensor([[[1.0, 2.0], [6.0, 8.0]]])
    assert effective_complexity(maps, maps.max() / 2).tolist() == [2]  # type: ignore[arg-type]

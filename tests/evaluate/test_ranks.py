import statistics

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from measured import ranks

from torchattr.errors import InputError
from torchattr.evaluate.ranks import chance_correlation, check_correlation, correlation, midranks

VALUES = st.lists(st.integers(-3, 3), min_size=6, max_size=6).filter(lambda v: len(set(v)) > 1)


@given(VALUES)
def test_midranks(values):
    assert midranks(torch.tensor([values]).double())[0].tolist() == ranks(values)


@given(VALUES, VALUES)
def test_correlations(a, b):
    pearson, defined = correlation(torch.tensor(a), torch.tensor(b), "pearson")
    assert defined
    assert pearson.item() == pytest.approx(statistics.correlation(a, b), abs=1e-12)
    assume(len(set(ranks(a))) > 1 < len(set(ranks(b))))
    spearman, _ = correlation(torch.tensor(a), torch.tensor(b), "spearman")
    assert spearman.item() == pytest.approx(statistics.correlation(ranks(a), ranks(b)), abs=1e-12)


def test_a_constant_has_no_correlation_even_if_it_differs_by_rounding():
    even = torch.tensor([[0.1, 0.1, 0.1 + 1e-17], [0.1, 0.1, 0.2]], dtype=torch.float64)
    even[0, 0] = 0.1 * (1 + 2**-52)
    _, defined = correlation(even, torch.arange(3.0), "spearman")
    assert defined.tolist() == [False, True]


def test_an_unknown_correlation():
    with pytest.raises(InputError, match="'pearson' or 'spearman', got 'kendall'"):
        check_correlation("kendall")


def test_what_chance_correlates_is_that_of_random_orders() -> None:
    # Critical values of Spearman's correlation: beyond them lie at most 5% of all orders.
    published = {6: 0.886, 7: 0.786, 10: 0.648, 20: 0.447}
    for count, critical in published.items():
        assert critical - 0.06 < chance_correlation(count, 0.95) < critical + 0.01
    assert [chance_correlation(count, 0.95) for count in (3, 4)] == pytest.approx([1, 1])
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(4000, 2, 12, generator=generator)
    sizes = correlation(drawn[:, 0], drawn[:, 1], "spearman")[0].abs()
    share = (sizes <= chance_correlation(12, 0.95)).double().mean()
    assert abs(float(share) - 0.95) < 0.012

"""Localisation metrics, against loops written from the papers."""

import itertools
from functools import partial
from statistics import mean

import numpy as np
import pytest
import torch
from helpers import refused
from hypothesis import given
from hypothesis import strategies as st

from torchattr.errors import InputError, InputTypeError, ShapeError, UndefinedMetricWarning
from torchattr.evaluate import (
    attribution_localisation,
    cell_shares,
    localisation_auc,
    relevance_mass,
    relevance_rank,
    top_k_intersection,
)

near = partial(pytest.approx, rel=0, abs=1e-10)

# Few values, so that there are ties.
VALUES = st.lists(st.integers(-3, 3), min_size=6, max_size=6).filter(lambda v: len(set(v)) > 1)
MASKS = st.lists(st.booleans(), min_size=6, max_size=6).filter(lambda m: 0 < sum(m) < 6)


def as_map(values):
    return torch.tensor(values, dtype=torch.float64).reshape(1, 2, 3)


def as_mask(mask):
    return torch.tensor(mask).reshape(1, 2, 3)


def hits_of_all_orders(values, mask, k):
    """The mean number of hits over all orders that the values allow."""
    orders = [
        order
        for order in itertools.permutations(range(len(values)))
        if all(values[a] >= values[b] for a, b in itertools.pairwise(order))
    ]
    return mean(sum(mask[i] for i in order[:k]) for order in orders)


@given(VALUES, MASKS)
def test_the_mass_of_absolute_values(values, mask):
    within = sum(abs(value) for value, inside in zip(values, mask, strict=True) if inside)
    expected = within / sum(map(abs, values))
    assert relevance_mass(as_map(values), as_mask(mask)).item() == near(expected)


@given(VALUES.filter(lambda values: max(values) > 0), MASKS)
def test_the_mass_of_positive_values(values, mask):
    positive = [max(value, 0) for value in values]
    within = sum(value for value, inside in zip(positive, mask, strict=True) if inside)
    expected, maps, masks = within / sum(positive), as_map(values), as_mask(mask)
    assert relevance_mass(maps, masks, sign="positive").item() == near(expected)
    assert attribution_localisation(maps, masks).item() == near(expected)
    weighted = attribution_localisation(maps, masks, weighted=True).item()
    assert weighted == near(expected * 6 / sum(mask))


@given(VALUES, MASKS)
def test_ranks_with_ties_are_means_over_all_orders(values, mask):
    maps, masks, size = as_map(values), as_mask(mask), sum(mask)
    expected = float(hits_of_all_orders(values, mask, size)) / size
    assert relevance_rank(maps, masks).item() == near(expected)
    for k in (1, 4):
        expected = float(hits_of_all_orders(values, mask, k)) / k
        assert top_k_intersection(maps, masks, k).item() == near(expected)


@given(VALUES, MASKS)
def test_auc_is_the_probability_of_the_right_order(values, mask):
    pairs = [
        (a > b) + (a == b) / 2
        for a, inside in zip(values, mask, strict=True)
        for b, other in zip(values, mask, strict=True)
        if inside and not other
    ]
    found = localisation_auc(as_map(values), as_mask(mask)).item()
    assert found == near(sum(pairs) / len(pairs))


def test_cells_against_loops():
    maps = torch.randn(3, 6, 8, dtype=torch.float64)
    found = cell_shares(maps, (3, 2))
    for n, row, column in itertools.product(range(3), range(3), range(2)):
        cell = maps[n, 2 * row : 2 * row + 2, 4 * column : 4 * column + 4].clamp(min=0).sum()
        assert found[n, row, column].item() == near((cell / maps[n].clamp(min=0).sum()).item())
    assert found.sum((1, 2)).tolist() == near([1.0] * 3)


METRICS = [
    relevance_mass,
    attribution_localisation,
    relevance_rank,
    lambda maps, masks: top_k_intersection(maps, masks, 5),
    localisation_auc,
]


@pytest.mark.parametrize("metric", METRICS)
def test_examples_do_not_mix(metric):
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(5, 2, 4, 4, generator=generator)
    masks = torch.rand(5, 1, 4, 4, generator=generator) > 0.5
    before = maps.clone(), masks.clone()
    together = metric(maps, masks)
    for n in range(5):
        assert metric(maps[n : n + 1], masks[n : n + 1]).item() == together[n].item()
    assert torch.equal(maps, before[0])
    assert torch.equal(masks, before[1])


@pytest.mark.parametrize("metric", METRICS)
def test_a_constant_map_has_no_value_or_that_of_the_area(metric):
    maps = torch.stack([torch.ones(2, 4), torch.arange(8.0).reshape(2, 4) + 1])
    masks = torch.zeros(2, 2, 4, dtype=torch.bool)
    masks[:, :, :2] = True
    if metric in (relevance_mass, attribution_localisation):
        assert metric(maps, masks)[0].item() == 0.5
        return
    with pytest.warns(UndefinedMetricWarning, match="the map is constant") as caught:
        found = metric(maps, masks)
    assert len(caught) == 1
    assert found.isnan().tolist() == [True, False]


def test_nothing_positive():
    maps, masks = -torch.ones(1, 2, 2), torch.tensor([[[True, False], [False, False]]])
    with pytest.warns(UndefinedMetricWarning, match="0 everywhere"):
        assert attribution_localisation(maps, masks).isnan().all()
    with pytest.warns(UndefinedMetricWarning, match="no element is positive") as caught:
        found = cell_shares(torch.cat([maps, -maps]))
    assert len(caught) == 1
    assert found[0].isnan().all()
    assert found[1].tolist() == [[0.25, 0.25], [0.25, 0.25]]


def test_arguments_out_of_range():
    maps, masks = torch.rand(1, 2, 4), torch.zeros(1, 2, 4, dtype=torch.bool)
    masks[0, 0, 0] = True
    for k in (0, 9):
        with pytest.raises(InputError, match=f"from 1 to 8, the elements of a map, got {k}"):
            top_k_intersection(maps, masks, k)
    with pytest.raises(InputError, match="sign must be 'absolute' or 'positive', got 'both'"):
        relevance_mass(maps, masks, sign="both")
    with pytest.raises(ShapeError, match="3 x 2 cells does not divide maps of 2 x 4"):
        cell_shares(maps, (3, 2))


def test_a_grid_of_wrong_type_is_refused() -> None:
    for grid in (3, None, (2,), "ab", (2, 1.5)):
        with refused(InputTypeError, "grid must be"):
            cell_shares(torch.rand(1, 4, 4), grid)  # type: ignore[arg-type]


def test_a_grid_may_be_an_array() -> None:
    maps = torch.rand(1, 4, 4)
    for grid in (np.array([2, 4]), torch.tensor([2, 4])):
        assert torch.equal(cell_shares(maps, grid), cell_shares(maps, (2, 4)))  # type: ignore[arg-type]

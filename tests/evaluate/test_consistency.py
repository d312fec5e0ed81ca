"""Consistency, against counting pairs."""

from __future__ import annotations

import pytest
import torch
from helpers import assert_same, noise, refused
from torch import Tensor

from torchattr.errors import InputError, InputTypeError, ShapeError, UndefinedMetricWarning
from torchattr.evaluate import consistency

MAPS = noise(80, 1, 3)
LABELS = torch.arange(80) % 3


def key(row: Tensor, k: int) -> tuple[tuple[int, bool], ...]:
    values = row.flatten().tolist()
    largest = sorted(range(len(values)), key=lambda i: -abs(values[i]))[:k]
    return tuple(sorted((i, values[i] > 0) for i in largest))


@pytest.mark.parametrize("k", [1, 2])
def test_it_is_the_share_of_equal_predictions(k: int) -> None:
    keys = [key(row, k) for row in MAPS]
    expected = []
    for i in range(80):
        others = [j for j in range(80) if j != i and keys[j] == keys[i]]
        assert others
        expected.append(sum(bool(LABELS[j] == LABELS[i]) for j in others) / len(others))
    found = consistency(MAPS, LABELS, k=k)
    assert_same(found, torch.tensor([float(one) for one in expected], dtype=torch.float64), 1e-12)
    assert_same(consistency(MAPS.numpy(), LABELS.tolist(), k=k), found)


def test_explanations_of_ones_own_are_undefined() -> None:
    maps = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, -1.0]])
    with pytest.warns(UndefinedMetricWarning, match="no other example") as caught:
        found = consistency(maps, torch.tensor([1, 1, 1]), k=1)
    assert len(caught) == 1
    assert found[:2].tolist() == [1.0, 1.0]
    assert bool(found[2].isnan())


def test_constant_maps_have_no_explanation_and_no_equals() -> None:
    maps = torch.tensor([[2.0, 2.0, 2.0], [2.0, 1.0, 1.0], [-1.0, 1.0, 1.0], [3.0, 1.0, 0.0]])
    with pytest.warns(
        UndefinedMetricWarning, match="where the map is constant; .*2 of 4"
    ) as caught:
        found = consistency(maps, torch.tensor([1, 1, 1, 1]), k=1)
    assert len(caught) == 1
    assert found.isnan().tolist() == [True, False, True, False]
    assert found[[1, 3]].tolist() == [1.0, 1.0]
    both = "where the map is constant or no other example has the same explanation"
    with pytest.warns(UndefinedMetricWarning, match=both) as caught:
        found = consistency(maps[:2], torch.tensor([1, 1]), k=1)
    assert len(caught) == 1
    assert found.isnan().all()
    whole = consistency(maps[[0, 1, 3]].clamp_min(0.5), torch.tensor([1, 1, 0]), k=3)
    assert whole.tolist() == [0.5, 0.5, 0.0]


def test_ties_do_not_depend_on_the_places_of_elements() -> None:
    maps = torch.tensor([[3.0, 1.0, 1.0], [5.0, 2.0, 2.0], [4.0, 1.0, 0.5]])
    for turned in (maps, maps.flip(1)):
        with pytest.warns(UndefinedMetricWarning, match="no other .* 1 of 3 maps: 2"):
            found = consistency(turned, torch.tensor([0, 0, 0]), k=2)
        assert found[:2].tolist() == [1.0, 1.0]


def test_explanations_are_made_discrete_by_any_function() -> None:
    found = consistency(MAPS, LABELS, discretise=lambda rows: rows.new_zeros(len(rows)))
    alike = (LABELS[:, None] == LABELS).sum(1) - 1
    assert_same(found, alike.double() / 79, 1e-12)


def test_wrong_arguments_are_refused() -> None:
    with refused(ShapeError, "attributions", "(4,)"):
        consistency(torch.zeros(4), [0, 1, 2, 3])
    with refused(ShapeError, "predictions", "(80,)", "(3,)"):
        consistency(MAPS, [0, 1, 2])
    with refused(InputTypeError, "argmax(1)"):
        consistency(MAPS, LABELS.float())
    with refused(InputError, "k must be from 1 to 3", "5"):
        consistency(MAPS, LABELS)
    with refused(InputError, "NaN"):
        consistency(MAPS * torch.nan, LABELS)
    with refused(InputTypeError, "k must be an int", "'2'"):
        consistency(MAPS, LABELS, k="2")  # type: ignore[arg-type]
    for wrong in ("maps", [[1.0], [2.0, 3.0]], None):
        with refused(InputTypeError, "attributions must be a tensor or an array"):
            consistency(wrong, LABELS)
    with refused(InputTypeError, "predictions must be a tensor or an array"):
        consistency(MAPS, "cat")
    with refused(InputTypeError, "discretise must be a function"):
        consistency(MAPS, LABELS, discretise="sign")  # type: ignore[arg-type]
    with refused(ShapeError, "discretise", "80 rows"):
        consistency(MAPS, LABELS, discretise=lambda rows: rows[:2])

from __future__ import annotations

import pytest
import torch
from helpers import assert_same, noise, refused

from torchattr.errors import InputError, ShapeError
from torchattr.quantus.normalising import Normalising, by_largest

X = noise(2, 3, 4, 4)


def test_maps_get_the_dimensions_of_their_inputs() -> None:
    plain = Normalising()
    maps = noise(2, 4, 4, seed=2)
    assert_same(plain.applied(maps, X), maps[:, None])
    assert_same(plain.applied(maps[:, None], X), maps[:, None])
    assert_same(plain.applied(X, X), X)
    rows = noise(2, 5)
    assert_same(plain.applied(rows, rows), rows)


def test_magnitudes_come_after_the_normalisation() -> None:
    def shifted(array, by):
        array -= by
        return array

    before = X.clone()
    found = Normalising(shifted, {"by": 1.0}, True, True).applied(X, X)
    assert_same(found, (X - 1).abs())
    assert torch.equal(X, before)
    assert_same(Normalising(None, {}, True, True).applied(X, X), by_largest(X).abs())
    assert by_largest(X).abs().flatten(1).amax(1).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 4, 4), (2, 2, 4, 4), (2, 4, 5)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with refused(ShapeError, str(shape), "(2, 3, 4, 4)"):
        Normalising().applied(torch.zeros(shape), X)


def test_maps_must_be_finite() -> None:
    with refused(InputError, "NaN or infinite"):
        Normalising().applied(X * torch.inf, X)

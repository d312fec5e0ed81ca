"""Perturbed copies: noise within its bounds, and pictures moved sideways."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import assert_same, noise, refused
from torch import Tensor

from torchattr.core.inputs import as_inputs
from torchattr.errors import InputError, InputTypeError, ShapeError
from torchattr.evaluate import continuity, sensitivity_max
from torchattr.evaluate.neighbours import moved, neighbours, translations

X = as_inputs(noise(2, 3, 4, 5))


def test_noise_has_its_distribution() -> None:
    wide = as_inputs(torch.zeros(1, 20_000, dtype=torch.float64))
    (uniform,) = neighbours(wide, None, "uniform", 0.5, 3)(0, 2)
    assert uniform.shape == (2, 20_000)
    assert 0.49 < float(uniform.abs().max()) <= 0.5
    assert abs(float(uniform.std()) - 0.5 / 3**0.5) < 0.01
    (normal,) = neighbours(wide, None, "normal", 0.5, 3)(0, 2)
    assert abs(float(normal.std()) - 0.5) < 0.01
    assert abs(float(normal.mean())) < 0.01


@pytest.mark.parametrize("noise_kind", ["uniform", "normal"])
def test_a_sample_depends_on_its_number_and_seed_alone(noise_kind: str) -> None:
    whole = neighbours(X, None, noise_kind, 0.1, [4, 5])(0, 3)[0]
    alone = neighbours(as_inputs(X.tensors[0][1:]), None, noise_kind, 0.1, 5)(2, 3)[0]
    assert torch.equal(whole[5:], alone)


def test_functions_get_the_copies_of_an_example_side_by_side() -> None:
    def numbered(rows: Tensor) -> Tensor:
        return rows + torch.arange(len(rows), dtype=rows.dtype).reshape(-1, 1, 1, 1)

    (found,) = neighbours(X, numbered, "uniform", 0.1, 0)(0, 2)
    x = X.tensors[0]
    assert_same(found, torch.cat([x[:1], x[1:] + 2, x[:1] + 1, x[1:] + 3]))


@pytest.mark.parametrize("columns", [-7, -4, -2, 0, 1, 4, 5, 6])
def test_moved_pictures_are_those_of_a_loop(columns: int) -> None:
    (x,) = X.tensors
    expected = torch.full_like(x, 0.5)
    for column in range(5):
        if 0 <= column - columns < 5:
            expected[..., column] = x[..., column - columns]
    assert_same(moved(x, columns, 0.5), expected)


def test_translations_are_even_and_never_stay() -> None:
    found = translations(X, 9, 0.0)(0, 9)[0].unflatten(0, (9, 2))
    (x,) = X.tensors
    shifts = [-4, -3, -2, -1, 1, 1, 2, 3, 4]
    assert_same(found, torch.stack([moved(x, shift, 0.0) for shift in shifts]))
    part = translations(X, 9, 0.0)(3, 5)[0].unflatten(0, (2, 2))
    assert_same(part, found[3:5])


def test_wrong_arguments_are_refused() -> None:
    with refused(InputError, "noise", "'pink'"):
        neighbours(X, None, "pink", 0.1, 0)  # type: ignore[arg-type]
    with refused(InputError, "radius", "inf"):
        neighbours(X, None, "normal", float("inf"), 0)
    with refused(ShapeError, "pictures", "(2, 3)"):
        translations(as_inputs(torch.zeros(2, 3)), 3, 0.0)


def test_arguments_of_wrong_types_are_refused() -> None:
    x = torch.rand(1, 1, 4, 4)

    def explanation(x: torch.Tensor) -> torch.Tensor:
        return x

    with refused(InputTypeError, "radius must be a number, got str 'a'"):
        sensitivity_max(explanation, x, radius="a")  # type: ignore[arg-type]
    with refused(InputTypeError, "perturb_func must be a function"):
        sensitivity_max(explanation, x, perturb_func="a")  # type: ignore[arg-type]
    with refused(InputTypeError, "fill must be a number"):
        continuity(explanation, x, fill="a")  # type: ignore[arg-type]


def test_a_radius_may_be_a_share_of_the_inputs_range() -> None:
    x = torch.rand(2, 1, 4, 4)
    radius = (x.max() - x.min()) / 50
    found = sensitivity_max(lambda x: 2 * x, x, radius=radius)  # type: ignore[arg-type]
    assert torch.equal(found, sensitivity_max(lambda x: 2 * x, x, radius=radius.item()))


def test_what_enters_may_be_an_array() -> None:
    x = torch.rand(2, 1, 4, 4)
    fill = np.array([0.5], np.float32)
    found = continuity(lambda x: x.square(), x, fill=fill)  # type: ignore[arg-type]
    assert torch.equal(found, continuity(lambda x: x.square(), x, fill=0.5))

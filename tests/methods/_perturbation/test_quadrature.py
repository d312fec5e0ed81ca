"""Integrals along straight paths."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused

from torchattr.errors import InputError, InputTypeError
from torchattr.methods._perturbation.quadrature import (
    as_copies,
    points_between,
    quadrature,
    weighted_copies,
)

RULES = ["gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"]


@pytest.mark.parametrize("rule", RULES)
def test_weights_sum_to_one_within_the_interval(rule: str) -> None:
    points, weights = quadrature(rule, 7)
    assert len(points) == len(weights) == 7
    assert sum(weights) == pytest.approx(1)
    assert all(0 <= point <= 1 for point in points)


def test_gauss_legendre_is_exact_for_polynomials() -> None:
    points, weights = quadrature("gausslegendre", 4)
    found = sum(weight * point**7 for point, weight in zip(points, weights, strict=True))
    assert found == pytest.approx(1 / 8)


def test_further_points_lower_what_is_needed() -> None:
    assert quadrature("riemann_trapezoid", 1, further=1)[0] == [0, 1]
    with refused(InputError, "n_steps of 'riemann_trapezoid'", "at least 2", "1"):
        quadrature("riemann_trapezoid", 1)


@pytest.mark.parametrize(
    ("method", "steps", "kind"),
    [
        ("simpson", 4, InputError),
        *(
            ("gausslegendre", steps, kind)
            for steps, kind in ((0, InputError), (2.5, InputTypeError), (True, InputTypeError))
        ),
    ],
)
def test_bad_arguments(method: str, steps: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        quadrature(method, steps)


def test_points_and_sums_of_copies() -> None:
    start, end = noise(2, 3), noise(2, 3, seed=2)
    (points,) = points_between([start], [end], [0, 0.5, 1])
    assert_same(as_copies(points, 3), torch.stack([start, (start + end) / 2, end]), 1e-12)
    assert_same(weighted_copies(points, [1, 0, 2]), start + 2 * end, 1e-12)
    halves = points.half()
    assert weighted_copies(halves, [1, 1, 1]).dtype == torch.float32

"""Steps of gradient ascent, on an objective whose gradient is known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import assert_same, noise, refused
from torch import Generator, Tensor

from torchattr.errors import InputError, ShapeError
from torchattr.inspect import Step
from torchattr.inspect.maximisation.ascent import Ascent, resized
from torchattr.inspect.maximisation.objectives import Goal

X = noise(2, 3, 8, 6)


def mean_square(x: Tensor) -> Tensor:
    return x.square().flatten(1).mean(1, keepdim=True)


def ascent(**changes: Any) -> Ascent:
    options: dict[str, Any] = {
        "goal": Goal(mean_square, 0, None),
        "arguments": (),
        "transforms": (),
        "generator": Generator(),
        "steps": 1,
        "rate": 0.5,
        "tv": 0.0,
        "l2": 0.0,
        "smooth": None,
        "sigma": 1.0,
        "octaves": 1,
        "octave_scale": 1.4,
        "bounds": None,
    }
    return Ascent(**{**options, **changes})


def test_a_step_follows_the_normalised_gradient() -> None:
    # The gradient is the image itself, up to a factor that the normalisation divides out.
    direction = X / X.square().mean((1, 2, 3), keepdim=True).sqrt()
    assert_same(ascent().climb(X), X + 0.5 * direction, 1e-12)
    assert_same(ascent(l2=0.2).climb(X), X + 0.5 * (direction - 0.2 * X), 1e-12)


def test_steps_shrink_linearly_and_are_reported() -> None:
    steps: list[Step] = []
    found = ascent(steps=2, callback=steps.append).climb(X)
    length = X.square().mean((1, 2, 3), keepdim=True).sqrt()
    assert_same(found, X * (length + 0.5 + 0.25) / length, 1e-12)
    assert [(step.octave, step.number) for step in steps] == [(0, 0), (0, 1)]
    assert_same(steps[0].scores, mean_square(X)[:, 0])
    assert_same(steps[-1].image, found)


def test_octaves_work_on_growing_images() -> None:
    sizes: list[tuple[int, ...]] = []
    runs = ascent(
        octaves=2,
        octave_scale=2.0,
        callback=lambda step: sizes.append(tuple(step.image.shape[2:])),
    )
    assert runs.climb(X).shape == X.shape
    assert sizes == [(4, 3), (8, 6)]


def test_bounds_are_kept() -> None:
    found = ascent(rate=100.0, bounds=(-0.1, 0.2)).climb(X)
    assert (found.min(), found.max()) == (-0.1, 0.2)


def test_resizing_keeps_constants_and_sizes() -> None:
    assert resized(X, (8, 6)) is X
    assert_same(resized(torch.full((1, 2, 9), 3.0), (5,)), torch.full((1, 2, 5), 3.0))


@pytest.mark.parametrize(
    ("option", "value"),
    [("steps", 0), ("octaves", 1.5), ("rate", -1), ("octave_scale", 1.0), ("smooth", "box")],
)
def test_settings_out_of_range_are_refused(option: str, value: Any) -> None:
    with refused(InputError, option):
        ascent(**{option: value})


def test_too_many_octaves_are_refused() -> None:
    with refused(ShapeError, "octaves=9"):
        ascent(octaves=9).climb(X)
